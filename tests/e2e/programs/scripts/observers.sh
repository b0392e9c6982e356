# What programs that look at processes and the machine find. Every line is the same in every guest of this size.
set -eu
sleep 100 & sleeper=$!
ps -o pid=,ppid=,comm=,args= -p $sleeper | sed "s/^ *$sleeper  *$$ /here /"; pgrep -x sleep | wc -l; pwdx $sleeper | cut -d' ' -f2
top -b -n 1 | sed -n '2s/,.*//p;/sleep/s/.* //p'; pmap $sleeper | grep -c 'sleep$'; pmap $sleeper | tail -1 | sed 's/[0-9][0-9]*/N/'; pstree | head -1 | tr -d -- '-+' | cut -c1-2
free -m | sed -n '2s/ [ 0-9]*//p;3p'; nproc; lscpu | grep -E '^(CPU\(s\)|Thread|Core|Socket|On-line)' | tr -s ' '; cat /sys/devices/system/cpu/cpu1/topology/{core_id,thread_siblings_list,core_siblings,physical_package_id}
lscpu -e=CPU,CORE,SOCKET,ONLINE; grep -c ^processor /proc/cpuinfo; vmstat | sed -n 2p | tr -s ' '; df --output=target,fstype | tr -s ' '; mount | cut -d' ' -f1-5; findmnt -n -o SOURCE,FSTYPE /proc
uptime | grep -c 'load average'; exec 5< /etc/passwd; lsof -p $$ -a -d 5 -F n | tail -1; readlink /proc/self/fd/5; sed -n '1,2p' /proc/self/fdinfo/5; tr '\0' ' ' < /proc/$sleeper/cmdline; echo
cat /proc/self/cgroup /sys/fs/cgroup/cpu.max /sys/fs/cgroup/memory.max; stat -f -c %T /sys/fs/cgroup; grep -cx $sleeper /sys/fs/cgroup/cgroup.procs; test "$(cat /sys/fs/cgroup/memory.current)" -gt 1000000; sed -n 1,2p /proc/devices
echo 15 > /proc/self/oom_adj; cat /proc/$$/oom_score_adj; echo 500 > /proc/$$/oom_score_adj; cat /proc/$$/oom_adj; grep -E '^(Threads|FDSize|VmSwap)' /proc/$sleeper/status | tr -s '\t ' ' '
ls /proc/$sleeper/task | wc -l; (ulimit -n 77; grep 'open files' /proc/self/limits | tr -s ' '); sysctl -n kernel.ostype vm.overcommit_memory fs.nr_open; grep -c . /proc/$sleeper/smaps_rollup
mount -t tmpfs none /proc/sysvipc; : > /proc/sysvipc/own; ls /proc/sysvipc; umount /proc/sysvipc; ls /proc/sysvipc
lsns -n -o TYPE | sort | tr "\n" " "; lsblk; echo "disks: $?"; lscpu -C=NAME | grep -c L2; lscpu | grep NUMA | tr -s " "; file=$(cut -f1 /proc/sys/fs/file-nr); test "$file" -gt 5
kill $sleeper; wait $sleeper || echo "ended: $?"; ps -e | wc -l
