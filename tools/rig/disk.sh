# Sourced by build-disk and change-disk: the layout of the rig's disk, its root mounted in a private
# place, and apt working on that root with the machine's own mirrors. Nothing is left to undo by
# hand: the work runs in a mount and process namespace of its own, and the only loop device detaches
# itself when unmounted. So whatever ends the script (an error, TERM, even KILL), the kernel ends
# the processes, unmounts cleanly and detaches the loop device.

# |   at | size     | partition                                                    |
# |-----:|---------:|--------------------------------------------------------------|
# |  1 M | 1 MiB    | 1: BIOS boot, GRUB's core image                              |
# |  2 M | 48 MiB   | 2: EFI system partition, FAT32                               |
# | 50 M | 1997 MiB | 3: root, ext4 labelled varve-root                            |
readonly mebibyte=1048576
readonly disk_byte_count=$((2048 * mebibyte))
readonly bios_first_sector=2048
readonly esp_byte_offset=$((2 * mebibyte)) esp_byte_count=$((48 * mebibyte))
readonly root_byte_offset=$((50 * mebibyte)) root_byte_count=$((1997 * mebibyte))
readonly root_label=varve-root
readonly inside_flag=--in-private-namespace

scratch= # the folder for mount point and logs
partial= # a file that must not outlive the script

umask 022
export LC_ALL=C DEBIAN_FRONTEND=noninteractive

need_root() {
    [ "$(id -u)" -eq 0 ] || refuse "mounting a disk image needs root: run it again as root"
}

# run_in_private_namespace IMAGE ARGUMENT...: runs this script again with the arguments, led by the
# flag above and a scratch folder, and waits until it and its loop device on IMAGE are gone.
# Returns its exit code; TERM, INT and HUP end it at once.
run_in_private_namespace() {
    local image=$1 child code=0
    shift
    trap remove_temporary_files EXIT
    scratch=$(mktemp -d "${TMPDIR:-/tmp}/varve-rig.XXXXXX") ||
        fail "no scratch folder: free some space in ${TMPDIR:-/tmp}"
    chmod 755 "$scratch"
    setpriv --pdeathsig KILL unshare --mount --pid --fork --kill-child --mount-proc \
        "$(readlink -f "$0")" "$inside_flag" "$scratch" "$@" &
    child=$!
    trap 'end_private_namespace "$child" "$image"; exit 143' TERM HUP
    trap 'end_private_namespace "$child" "$image"; exit 130' INT
    wait "$child" || code=$?
    trap - TERM HUP INT
    wait_for_loop_devices "$image"
    return "$code"
}

# Out here the namespace's mounts do not exist, so this can reach nothing but its own files.
remove_temporary_files() { rm -rf --one-file-system ${scratch:+"$scratch"} ${partial:+"$partial"}; }

# Ending unshare ends its child, which is the first process of its namespace and takes all with it.
end_private_namespace() {
    say "interrupted: unmounting"
    kill -KILL "$1" 2>/dev/null || true
    wait "$1" 2>/dev/null || true
    wait_for_loop_devices "$2"
}

# The kernel unmounts a namespace that ended by itself a moment after the last process is gone.
wait_for_loop_devices() {
    local attempt
    for ((attempt = 0; attempt < 150; attempt++)); do
        [ -e "$1" ] && [ -n "$(losetup -j "$1")" ] || return 0
        sleep 0.1
    done
    fail "$1 is still attached to $(losetup -nO NAME -j "$1"): detach it with losetup -d"
}

# mount_root IMAGE FOLDER: only ever called inside the private namespace.
mount_root() {
    mount -t ext4 -o "loop,offset=$root_byte_offset,sizelimit=$root_byte_count" "$1" "$2" ||
        fail "cannot mount the root of $1: are loop devices and ext4 available on this machine?"
}

# quietly COMMAND... and download COMMAND...: run it with its output kept aside; if it fails, show
# the end of that, and the remedy that fits.
quietly() { run_aside "run tools/rig/install-packages, then start from a new disk" "$@"; }
download() { run_aside "check the network and this machine's apt sources" "$@"; }

run_aside() {
    local remedy=$1
    shift
    "$@" >"$scratch/log" 2>&1 </dev/null || {
        tail -n 20 "$scratch/log" >&2
        fail "the command '$1' failed, its last lines are above: $remedy"
    }
}

# Prints the file that tells this machine where Debian 12 comes from.
machine_sources() {
    local file
    for file in /etc/apt/sources.list.d/debian.sources /etc/apt/sources.list \
        /etc/apt/sources.list.d/*.sources /etc/apt/sources.list.d/*.list; do
        if grep -Eqs '^(deb |Suites:)([^#]* )?bookworm( |$)' "$file"; then
            echo "$file"
            return
        fi
    done
    refuse "no file in /etc/apt names a mirror for bookworm: add one to /etc/apt/sources.list"
}

# How this machine reaches its mirrors (proxies, date checks): to be used for the disk as well.
machine_acquire_options() {
    apt-config dump Acquire
    echo 'Acquire::Languages "none";'
}

# configure_apt ROOT: from here on, this machine's apt installs into ROOT. Downloads happen out
# here, with the machine's mirrors and name service; only dpkg runs inside ROOT.
configure_apt() {
    local sources
    sources=$(machine_sources)
    {
        machine_acquire_options
        cat <<APT
Dir "$1/";
Dir::Etc::Main "/dev/null";
Dir::Etc::Parts "/dev/null";
Dir::Etc::SourceList "$sources";
Dir::Etc::SourceParts "/dev/null";
Dir::Etc::Trusted "/etc/apt/trusted.gpg";
Dir::Etc::TrustedParts "/etc/apt/trusted.gpg.d/";
DPkg::Chroot-Directory "$1/";
DPkg::Options { "--force-unsafe-io"; "--force-confold"; };
APT::Sandbox::User "root";
APT::Install-Recommends "false";
APT
    } >"$scratch/apt.conf"
    export APT_CONFIG=$scratch/apt.conf
}
