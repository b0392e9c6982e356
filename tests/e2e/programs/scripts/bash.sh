# pipelines, traps, here-documents, background jobs, wait, process substitution, coproc
set -u
echo "pipe: $(printf '%s\n' c a b | sort | paste -sd,)"
set -o pipefail; false | true; echo "pipefail: $?"; true | false | true; echo "${PIPESTATUS[*]}"; set +o pipefail
cat <<-END
	tabs go, $((6 * 7)) stays
	END
cat <<'END'
$nothing is expanded
END
tr a-z A-Z <<< "a here-string"
diff <(printf '1\n2\n3\n') <(printf '1\n3\n4\n'); echo "diff: $?"
paste -d: <(seq 3) <(seq 4 6)
tee >(wc -l | tr -d ' ' > /tmp/count) < <(seq 5) > /dev/null; sleep 0.3; echo "substitution to write to: $(cat /tmp/count)"
coproc UPPER { while read -r line; do echo "${line^^}"; done; }
echo "to the coprocess" >&"${UPPER[1]}"; read -r answer <&"${UPPER[0]}"; echo "$answer"
exec {UPPER[1]}>&-; wait "$UPPER_PID"; echo "coprocess: $?"
trap 'echo "exit trap"' EXIT; trap 'echo "usr1 trap"' USR1; trap 'echo "error on line"' ERR
kill -USR1 $$; false; trap - ERR
(trap 'echo "term in a subshell"; exit 12' TERM; sleep 10 & child=$!; (sleep 0.3; kill -TERM $BASHPID; kill -TERM $PPID) 2>/dev/null & echo ready; kill -TERM $BASHPID; wait); echo "subshell: $?"
for i in 3 1 2; do (sleep 0.$i; exit $i) & pids[i]=$!; done
for i in 1 2 3; do wait "${pids[i]}"; echo "job $i: $?"; done
(exit 5) & (sleep 0.5; exit 6) & wait -n; echo "first of both: $?"; wait -n; echo "the other: $?"; wait -n; echo "none: $?"
sleep 100 & jobs -r | sed 's/ *&.*//'; kill %1; wait %1 2>/dev/null; echo "killed job: $?"
set -m; sleep 0.2 & fg %1 > /dev/null; echo "fg: $?"; (kill -STOP $BASHPID; echo continued) & sleep 0.3; jobs | grep -c Stopped; kill -CONT %%; wait; set +m
exec 5<> /tmp/file; echo line >&5; exec 5<&-; cat /tmp/file
exec 6< <(echo "from a descriptor"); read -r -u 6 x; echo "$x"; read -t 0.1 -r y < <(sleep 5); echo "read timed out: $(($? > 128))"
mapfile -t lines < <(seq 3); echo "${#lines[@]} lines, last ${lines[-1]}"
declare -A map=([a]=1 [b]=2); for k in a b; do printf '%s=%s ' "$k" "${map[$k]}"; done; echo
{ echo out; echo err >&2; } 2>&1 | sort; { echo a; echo b >&3; } 3>&1 | sort
printf '%s\n' {1..2000} | xargs -P 4 -n 100 echo | wc -w
yes | head -n 1000 | md5sum; dd if=/dev/zero bs=64k count=20 2>/dev/null | cat | cat | wc -c
find / -xdev -maxdepth 1 -type d 2>/dev/null | sort | head -3
time -p true 2>/dev/null; ulimit -n 50; ulimit -n; (ulimit -t 1; while :; do :; done) 2>/dev/null; echo "cpu limit: $?"
(ulimit -f 1; yes > /tmp/big) 2>/dev/null; echo "file limit: $?, $(stat -c %s /tmp/big)"
(exec -a another sh -c 'echo "$0"'); echo $(( $(nproc) > 0 )); [[ /proc/self/exe -ef /bin/readlink ]]; readlink /proc/$$/exe; test -t 0; echo "terminal: $?"
mkfifo /tmp/f; { echo in > /tmp/f; } & cat /tmp/f; wait
bash -c 'kill -9 $$'; echo "killed: $?"; bash -c 'exit 300'; echo "exit 300: $?"; nonexistent 2>/dev/null; echo "not found: $?"; /etc/passwd 2>/dev/null; echo "not executable: $?"
exit 3
