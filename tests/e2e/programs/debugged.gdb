set confirm off
set width 0
set startup-with-shell off
set print thread-events off
set print frame-arguments scalars
break third
run
backtrace -frame-arguments none
info registers rip
print value
print counter
watch counter
continue
delete 2
finish
step
next
delete
print third(20)
stepi
x/3i $pc
set variable counter = 1000
print counter
set variable $xmm5.v2_int64[1] = 77
print $xmm5.v2_int64[1]
set variable $mxcsr = 0x1fa0
print $mxcsr
handle SIGUSR1 stop print
continue
print $_siginfo.si_signo
break handle
continue
bt -frame-arguments none
delete
hbreak second
continue
print $_siginfo.si_signo
print value
delete
break third if value == 14
continue
print $_thread
set can-use-hw-watchpoints 0
# Without this either thread may be the one that is stepped when the watched value has changed.
set scheduler-locking on
watch counter
continue
delete
set scheduler-locking off
continue
print $_exitcode
quit $_exitcode
