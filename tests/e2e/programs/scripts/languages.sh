# A compiler, git and three interpreters. Every line is the same on Linux.
set -eu
mkdir -p /root/program /root/repository; cd /root/program
printf 'OBJECTS = main.o f1.o f2.o f3.o f4.o\nprogram: $(OBJECTS)\n\tgcc -o $@ $^\n%%.o: %%.c\n\tgcc -O1 -c -o $@ $<\n' > Makefile
for i in 1 2 3 4; do echo "int f$i(int x) { return x * $i + 1; }" > f$i.c; done
printf '#include <stdio.h>\nint f1(int), f2(int), f3(int), f4(int);\nint main(void) { printf("%%d\\n", f1(f2(f3(f4(1))))); return 0; }\n' > main.c
make -s -j2; ./program; make -q && echo "up to date"; touch f2.c; make -n | grep -c gcc
cd /root/repository; git init -q -b main .; git config user.email a@example.org; git config user.name A
echo one > file; git add file; git commit -qm first; git checkout -q -b other; echo two >> file; git commit -qam second
git log --format=%s; git diff --stat HEAD~1; git checkout -q main; git merge -q other; cat file; git clone -q . ../clone; ls ../clone; git gc -q; git fsck; git stash list; git status --short
perl -e '
    my $pid = fork; exit 3 unless $pid; waitpid $pid, 0; print $? >> 8, "\n"; open(P, "-|", "echo hi"); print <P>; close P;
    $SIG{ALRM} = sub { print "alarm\n" }; alarm 1; select undef, undef, undef, 3; system("true") == 0 or die; print `echo sub`;
    pipe R, W; if (!fork) { close R; print W "child\n"; exit } close W; print <R>; wait; $SIG{CHLD} = "IGNORE"; kill 0, $$ or die; print -d "/proc/$$" ? "there\n" : "";'
ruby -e '
    t = 5.times.map { |i| Thread.new { sleep 0.01; i * i } }; p t.map(&:value); r, w = IO.pipe
    if fork then w.close; puts r.read; Process.wait; p $?.exitstatus else r.close; w.puts "child"; w.close; exit! 4 end
    q = Queue.new; Thread.new { 3.times { |i| q << i } }; p 3.times.map { q.pop }; trap("USR1") { puts "usr1" }; Process.kill("USR1", $$); sleep 0.2
    require "open3"; puts Open3.capture2("tr a-z A-Z", stdin_data: "abc")[0]; p `echo sub`, $?.success?; Process.detach(spawn("true")).value.then { |s| p s.exitstatus }
    require "tempfile"; Tempfile.create("x") { |f| f.puts 1; f.flush; p File.size(f.path), f.flock(File::LOCK_EX) }; require "timeout"; begin Timeout.timeout(0.1) { sleep } rescue p $!.class end'
lua5.4 -e 'local p = io.popen("echo popen") print(p:read("a")) p:close() print(os.execute("exit 3")) print(os.getenv("HOME"), os.tmpname():match("^/tmp/"))'
