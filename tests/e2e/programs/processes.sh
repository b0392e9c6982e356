# What entrypoints do with processes. Every line is the same on Linux.
echo "pipeline: $(printf 'b\na\nc\n' | sort | tr a-z A-Z | tr '\n' ' ')"
(exit 7); echo "subshell: $?"
sh -c 'kill -TERM $$'; echo "terminated: $?"
sh -c 'kill -SEGV $$' 2>/dev/null; echo "segmentation fault: $?"
false | true; echo "last of a pipeline: $?"
sleep 0.2 & first=$!
(exit 3) & second=$!
wait $second; echo "second: $?"
wait $first; echo "first: $?"
wait $first 2>/dev/null; echo "waited for again: $?"
trap 'echo "trapped"' USR1
sh -c "kill -USR1 $$"; echo "after the trap"
(trap 'echo "child trapped"; exit 5' TERM; kill -TERM $(sh -c 'echo $PPID'); sleep 5); echo "child: $?"
sleep 100 & kill $!; wait $! 2>/dev/null; echo "killed: $?"
cat <<END | while read -r line; do echo "read $line"; done
one
two
END
yes | head -3 | wc -l | tr -d ' '
mkfifo /tmp/fifo.$$; (echo "through a fifo" > /tmp/fifo.$$) & cat /tmp/fifo.$$; wait; rm /tmp/fifo.$$
(sleep 0.1; echo "late") & (echo "early"); wait
i=0; while [ $i -lt 50 ]; do (exit $i) || :; i=$((i + 1)); done; echo "$i children"
seq 1 20 | xargs -n 5 echo
env -i A=1 sh -c 'echo "A is $A"'
exec 3>&1; echo "kept open" | (cat >&3); exec 3>&-
(cd / && pwd); umask 027; sh -c umask
(ulimit -n 77; sh -c 'ulimit -n')
nohup sh -c 'kill -HUP $$; echo "still here"' 2>/dev/null </dev/null
timeout 0.2 sleep 10; echo "timed out: $?"
exec sh -c 'echo "replaced: $0"; exit 9' name
