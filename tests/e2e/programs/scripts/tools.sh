# coreutils, findutils, grep, sed, awk, tar, xz and diffutils on a small tree. Every line is the same on Linux.
set -eu
mkdir -p /root/tree/a/b /root/tree/c; cd /root/tree
seq 1 1000 > numbers; for i in 1 2 3; do echo "file $i" > "a/f$i"; done; ln -s ../numbers a/link; ln numbers c/hard
cp -a a/. c/copy; mv c/copy/f1 c/copy/moved; rm c/copy/f2; chmod 640 a/f1; touch -d @1000000000 a/f2; truncate -s 1M c/sparse
find . -type f -newermt 2001-01-01 | sort; find . -links 2 -name numbers; find . -type l -printf '%p -> %l\n' | sort
find . -perm 640 -exec stat -c '%n %a %s' {} \;; find . -name 'f*' -print0 | sort -z | xargs -0 -n 2 echo
stat -c '%n %F %h %s' numbers c/hard a/link c/sparse; du -b a/f*; readlink -f a/link; realpath --relative-to=c a
grep -c 9 numbers; grep -rn 'file [23]' . | sort; grep -E '^(1|22|333)$' numbers | paste -sd+; sed -n '5,7p;$p' numbers
sed -i 's/file/FILE/;2d' a/f3 && cat a/f3; gawk '{ s += $1; if ($1 % 250 == 0) print NR, s } END { printf "%.2f\n", s / NR }' numbers
sort -rn numbers | head -2; shuf -i 1-50 | sort -n | uniq | wc -l; comm -12 <(seq 5) <(seq 3 8) 2>/dev/null | paste -sd' ' || :
cut -d: -f1,7 /etc/passwd | head -2; tr -dc 0-4 < numbers | md5sum; sha256sum numbers; cksum a/f1; base64 -w0 a/f1; echo; od -An -tx1 a/f1
split -l 400 numbers part.; wc -l part.*; cat part.* | cmp - numbers && echo "put together"; tac numbers | tail -1; nl -ba a/f1; fold -w 3 a/f1; join <(seq 3) <(seq 2 4)
tar cf - a c | tar tf - | sort; tar cJf /root/t.tar.xz . && xz -t /root/t.tar.xz && mkdir /root/out && tar xJf /root/t.tar.xz -C /root/out && diff -r . /root/out && echo "the same"
tar czf - numbers | gzip -dc | tar xOf - numbers | sha256sum; xz -k numbers; xz -l numbers.xz | tail -1 | gawk "{ print \$1, \$2 }"; diff -u a/f1 a/f2 | tail -3 || :
dd if=/dev/zero of=big bs=1M count=8 conv=fsync 2>/dev/null; stat -c %s big; sync; mktemp -u XXXX | wc -c; expr 6 \* 7; factor 360; numfmt --to=iec 123456789; date -u -d @86400 +%F
timeout 0.3 sleep 5 || echo "timed out: $?"; nice -n 5 nice; env -i A=b env; id -u; tty || echo "no terminal"; test -w /root && echo writable; tee copy < a/f1 > /dev/null; install -m 711 a/f1 installed; stat -c %a installed
mkfifo fifo; (cat fifo & echo through > fifo; wait); rm -r c; ls -A; rmdir a 2>/dev/null || echo "not empty"
for applet in "echo a b" "printf %s\n x" "seq 3" "expr 2 + 3" "basename /a/b.c .c" "wc -c numbers" "md5sum numbers" "tail -n 1 numbers" "stat -c %s numbers" "find a -type f" "du -s a" "ps -o pid" "sh -c :" "vi --help" "gzip -c a/f1" "awk BEGIN{print(1+1)}" "dc -e 2p" "cal 2 2024" "uname -m" "hostname" "id -u" "env true" "free" "uptime" "mount" "pgrep sh" "top -bn1" "lsof" "pstree" "killall -l" "nproc" "getopt a -a" "unlink big" "which sh" "xxd a/f1" "bc --help" "sleep 0" "sync" "test 1" "[ 1 ]" "tty" "whoami" "cpio --help" "ar --help" "diff a/f1 a/f2" "sort -r a/f1" "nc -h" "swapon -a" "mknod node p" "stty" "setsid true" "chroot / /bin/busybox true" "time true" "watch --help"; do
    # What a machine is like differs; that the applet can do its work does not.
    busybox $applet > /dev/null 2>&1 < /dev/null && echo "$applet: ok" || echo "$applet: $?"
done
