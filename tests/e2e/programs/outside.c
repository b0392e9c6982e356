/* A program for a debugger outside of the machine: its status is ten times what second() is given. */

int second(int value)
{
	return value * 10;
}

int main(int count, char **arguments)
{
	(void)arguments;
	return second(count);
}
