# shellcheck shell=bash disable=SC2154 # the variables are build.sh's
# Sourced by deploy/build.sh: what must be true of a program before it is packed.

# Raspberry Pi OS bookworm's.
NEWEST_GLIBC=2.36

# The newest glibc that it asks for; the loader refuses a program that asks for more than there is.
inspect_glibc() { # PROGRAM
    local newest
    newest=$(readelf --version-info --wide "$1" | grep -o 'GLIBC_[0-9.]*' | sort -uV | tail -n 1)
    newest=${newest#GLIBC_}
    printf '%s: glibc %s, needs%s\n' "$1" "$newest" \
        "$(readelf --dynamic --wide "$1" | sed -n 's/.*(NEEDED).*\[\(.*\)\]/ \1/p' | tr -d '\n')"
    dpkg --compare-versions "$newest" le "$NEWEST_GLIBC" || {
        echo "$1 asks for glibc $newest: bookworm has $NEWEST_GLIBC" >&2
        return 1
    }
}

# Nothing outside the functions that ring calls only after it has asked the kernel for NEON (`neon_available`, from the
# auxiliary vector) has an instruction that an ARM1176 does not know: it has ARMv6K and VFPv2. The ELF attribute alone says
# less: lld takes it from the first object that has one.
inspect_armv6() { # PROGRAM WITH SYMBOLS
    local attributes said
    attributes=$(readelf --arch-specific "$1" | sed -n 's/^ *Tag_\(CPU_arch\|FP_arch\): //p' | tr '\n' ' ')
    printf '%s: %s\n' "$1" "$attributes"
    # GNU's assembler and linker, which cross has, take the newest of all objects, and ring's assembly says `.arch armv7-a`
    # (https://github.com/briansmith/ring/issues/792): then the instructions alone decide.
    case ${BUILD_WITH:-zig}:$attributes in
    zig:v6* | cross:*) ;;
    *)
        echo "$1 is not marked as ARMv6" >&2
        return 1
        ;;
    esac
    # Twice: by what instructions are called, and as an ARMv6KZ would read them, to which others are UNDEFINED (but `movw`,
    # which then looks like a `tst`, and NEON, which is read in any case).
    said=$({
        arm-linux-gnueabihf-objdump --disassemble --no-show-raw-insn "$1"
        arm-linux-gnueabihf-objdump --disassemble --no-show-raw-insn --architecture=armv6kz "$1" | grep -E '^[0-9a-f]+ <|UNDEFINED'
    } | awk -F '\t' -f deploy/build/newer_than_armv6.awk)
    printf '%s: %s\n' "$1" "$said"
    [ "$(wc -l <<< "$said")" = 1 ]
}

inspect_sizes() { # ARCH PROGRAM
    local package
    package=$(find "$packages" -name "hearthlink_*_$1.deb" -newer "$2" | sort -V | tail -n 1)
    printf '%s: program %d bytes, package %d bytes, installed %d KiB, sha256 %s\n' "${package#"$repository/"}" \
        "$(stat -c %s "$2")" "$(stat -c %s "$package")" "$(dpkg-deb --field "$package" Installed-Size)" \
        "$(sha256sum "$package" | cut -d ' ' -f 1)"
}
