# Sourced by the scripts that build: refuses early, in words, where the Swift toolchain is missing.

readonly swift_needed=6.3

need_swift() {
    local version
    command -v swift >/dev/null ||
        refuse "there is no 'swift' on the PATH: install Swift $swift_needed (swift.org/install)"
    version=$(swift --version 2>&1 | sed -n 's/.*Swift version \([0-9.]*\).*/\1/p' || true)
    [ -n "$version" ] ||
        refuse "'swift --version' fails ($(swift --version 2>&1 | head -n 1)): repair the toolchain"
    [ "$(printf '%s\n' "$swift_needed" "$version" | sort -V | head -n 1)" = "$swift_needed" ] ||
        refuse "this is Swift $version, and varve needs $swift_needed: install a newer toolchain"
}
