# Runs stressors of stress-ng one after the other, each for $1 seconds, and says of each whether it found nothing wrong. A stressor may have
# options of its own behind it.
cd /tmp
seconds=$1
shift
for stressor; do
    # Two of them do not run as root.
    as=
    case $stressor in exec | spawn) as='chroot --userspec=app:app --skip-chdir /' ;; esac
    name=${stressor%% *}
    # What does not come to an end once on a machine that is busy with other things has more time.
    for limit in "$seconds" 60; do
        said=$($as stress-ng --verify --timeout "$limit" "--$name" 1 ${stressor#"$name"} 2>&1)
        status=$?
        case $said in *'all bogo-op counters are zero'*) ;; *) break ;; esac
    done
    # What a stressor skips, or gives up early, is no failure for stress-ng.
    case $status:$said in
    0:*fail:* | 0:*error:* | 0:*warn:* | 0:*skipp*) ;;
    0:*) echo "$name: passed" && continue ;;
    esac
    printf '%s\n' "$name: $status" "$said"
done
