/* Sends back what comes on one connection, and says what becomes of the network card meanwhile: what rtnetlink(7) tells of it and what /sys does.
 * When its link is lost it says so on the connection, too, where that cannot arrive before the link is back. */
#include <arpa/inet.h>
#include <err.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#ifndef IFF_LOWER_UP
#define IFF_LOWER_UP 0x10000
#endif

static char *file(const char *name, char *text)
{
	char path[64];
	snprintf(path, sizeof path, "/sys/class/net/eth0/%s", name);
	FILE *from = fopen(path, "r");
	if (!from || !fgets(text, 32, from))
		err(1, "%s", path);
	fclose(from);
	text[strcspn(text, "\n")] = 0;
	return text;
}

static void say(const char *word, unsigned flags, int state, int carrier)
{
	static int lost;
	char text[32], other[32];
	lost += *word == 'd';
	printf("%s %d: running %d, lower up %d, state %d, carrier %d; /sys: carrier %s, %s\n", word, lost, !!(flags & IFF_RUNNING),
	       !!(flags & IFF_LOWER_UP), state, carrier, file("carrier", text), file("operstate", other));
	fflush(stdout);
}

/* Whether the link of eth0 is there, by what has been told; -1 if nothing was. */
static int told(int netlink, int before)
{
	static char buffer[65536];
	int length = recv(netlink, buffer, sizeof buffer, 0);
	if (length < 0)
		err(1, "netlink");
	for (struct nlmsghdr *head = (void *)buffer; NLMSG_OK(head, length); head = NLMSG_NEXT(head, length)) {
		struct ifinfomsg *link = NLMSG_DATA(head);
		int rest = IFLA_PAYLOAD(head), state = -1, carrier = -1, ours = 0;
		if (head->nlmsg_type != RTM_NEWLINK)
			continue;
		for (struct rtattr *part = IFLA_RTA(link); RTA_OK(part, rest); part = RTA_NEXT(part, rest)) {
			if (part->rta_type == IFLA_IFNAME)
				ours = !strcmp(RTA_DATA(part), "eth0");
			if (part->rta_type == IFLA_OPERSTATE)
				state = *(unsigned char *)RTA_DATA(part);
			if (part->rta_type == IFLA_CARRIER)
				carrier = *(unsigned char *)RTA_DATA(part);
		}
		int now = !!(link->ifi_flags & IFF_LOWER_UP);
		if (ours && now != before) {
			say(now ? "up" : "down", link->ifi_flags, state, carrier);
			return now;
		}
	}
	return -1;
}

int main(void)
{
	struct sockaddr_nl changes = { .nl_family = AF_NETLINK, .nl_groups = RTMGRP_LINK };
	struct sockaddr_in here = { .sin_family = AF_INET, .sin_port = htons(8080) };
	int netlink = socket(AF_NETLINK, SOCK_RAW, NETLINK_ROUTE), server = socket(AF_INET, SOCK_STREAM, 0), up = 1;
	static char buffer[65536];
	char text[32], other[32];
	long sent = 0;
	if (bind(netlink, (void *)&changes, sizeof changes) || bind(server, (void *)&here, sizeof here) || listen(server, 1))
		err(1, "it cannot begin");
	printf("ready: carrier %s, %s\n", file("carrier", text), file("operstate", other));
	fflush(stdout);
	int client = accept(server, NULL, NULL);
	for (;;) {
		struct pollfd both[] = { { netlink, POLLIN, 0 }, { client, POLLIN, 0 } };
		if (poll(both, 2, -1) < 0)
			err(1, "poll");
		if (both[0].revents) {
			int now = told(netlink, up);
			up = now < 0 ? up : now;
			if (now == 0 && write(client, "lost", 4) != 4)
				err(1, "write");
		}
		if (both[1].revents) {
			long count = read(client, buffer, sizeof buffer);
			if (count < 0 || (count && write(client, buffer, count) != count))
				err(1, "the connection");
			if (!count)
				break;
			sent += count;
		}
	}
	printf("%ld bytes went back\n", sent);
	return 0;
}
