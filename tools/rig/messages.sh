# Sourced by every script of the rig: how they speak. All messages go to standard error, led by the
# script's name. An error names the thing, the cause and the remedy. Exit codes are the same
# everywhere: 1 when the work failed, 2 when the script refused before touching anything.

say() { printf '%s: %s\n' "${0##*/}" "$*" >&2; }

fail() {
    say "$*"
    exit 1
}

refuse() {
    say "$*"
    exit 2
}

export PATH=$PATH:/usr/sbin:/sbin # not on everyone's path, yet most of what the rig runs is there

# Refuses unless every named command can be found.
need_commands() {
    local command
    for command in "$@"; do
        command -v "$command" >/dev/null ||
            refuse "the command '$command' is missing: run tools/rig/install-packages first"
    done
}
