# Waits until stdin ends, which is when its owner does; then leaves nothing of the cluster in folder $1.
trap '' HUP INT QUIT TERM
folder=$1
cat >/dev/null

# The id may be of a server that is long gone and have been given to somebody else: ours names the folder.
is_ours() {
    case $pid in '' | *[!0-9]*) return 1 ;; esac
    { tr '\0' ' ' <"/proc/$pid/cmdline" || ps -o args= -p "$pid"; } | grep -qF -- "$folder"
}

# Goes on until the folder is gone: an initdb or a start that was under way may still write into it.
tries=0
while [ -e "$folder" ] && [ $tries -lt 100 ]; do
    pid=$(head -n 1 "$folder/data/postmaster.pid")
    if is_ours; then
        # Immediate shutdown, for which a frozen server must wake up. A SIGKILL would leave shared memory behind.
        kill -QUIT "$pid"
        kill -CONT "$pid" $(cat "/proc/$pid/task/$pid/children" || pgrep -P "$pid")
        waited=0
        while is_ours && [ $waited -lt 100 ]; do
            sleep 0.1
            waited=$((waited + 1))
        done
        if is_ours; then kill -KILL "$pid"; fi
    fi
    rm -rf "$folder"
    tries=$((tries + 1))
    if [ -e "$folder" ]; then sleep 0.1; fi
done
