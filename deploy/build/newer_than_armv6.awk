# Counts the instructions of an objdump that an ARM1176 (ARMv6K, VFPv2) does not know, by function: one line about those that
# are where they may be, in ring's assembly for NEON and where the unwinder keeps a frame's d16 to d31, and one more for every
# other function that has some.
BEGIN {
    condition = "(eq|ne|cs|cc|mi|pl|vs|vc|hi|ls|ge|lt|gt|le)?"
    # Whole numbers: from ARMv6T2 to ARMv8.
    newer = "^(movw|movt|bfc|bfi|sbfx|ubfx|mls|rbit|ldrht|ldrsht|ldrsbt|strht|dmb|dsb|isb|pli|pldw|sdiv|udiv|hvc|eret" \
        "|lda|ldab|ldah|ldaex[bhd]?|stl|stlb|stlh|stlex[bhd]?|crc32c?[bhw]|aes[a-z]+[.]8|sha(1|256)[a-z0-9]+[.]32|sevl|hlt)" condition "$"
    # Floating point of VFPv2; any other name with a `v` is NEON or a newer VFP.
    vfp2 = "^(v(add|sub|mul|nmul|mla|mls|nmla|nmls|div|neg|abs|sqrt|cmpe?)" condition "[.]f(32|64)" \
        "|vmov" condition "([.](f32|f64|32))?|vcvtr?" condition "[.][fsu](32|64)[.][fsu](32|64)" \
        "|v(ldr|str|push|pop|mrs|msr)" condition "|v(ldm|stm)(ia|db)" condition ")$"
    # How ring calls what it calls only where NEON is. `._…` are labels within x25519_NEON and poly1305's two.
    neon = "^(ring_core_[0-9_]+_)?(ChaCha20_ctr32_neon|_?bsaes_.*|_?vpaes_.*|gcm_(init|gmult|ghash)_neon" \
        "|sha(256|512)_block_data_order_neon|bn_mul8x_mont_neon|x25519_NEON|openssl_poly1305_neon2_.*|[.]_[a-z0-9]+)$"
    # LLVM's libunwind, zig's: called for a frame whose unwinding table names one of d16 to d31, which code for VFPv2 has not
    # (Registers.hpp, `Registers_arm::setFloatRegister` and `restoreSavedFloatRegisters`).
    unwinder = "^_ZN9libunwind13Registers_arm(9save|12restore)VFPv3EPv$"
}
/^[0-9a-f]+ <.*>:/ {
    name = $0
    sub(/^[0-9a-f]+ </, "", name)
    sub(/>:.*/, "", name)
    next
}
NF < 2 { next }
{
    is_newer = $0 ~ /UNDEFINED/ || $2 ~ newer || $2 ~ /[.]w$/
    if ($2 ~ /^v/) {
        is_newer = $2 !~ vfp2 \
            || $3 ~ /[^a-z]q[0-9]|^q[0-9]|d(1[6-9]|2[0-9]|3[01])/ \
            || ($2 ~ /^v(mov|cvt)/ && $3 ~ /#/) \
            || ($2 ~ /[.]f32$/ && $2 !~ /^vcvt/ && $3 ~ /d[0-9]/)
    }
    if (!is_newer) next
    if (name ~ neon || name ~ unwinder) inside++
    else outside[name]++
}
END {
    printf "%d instructions newer than ARMv6, in ring's assembly for NEON and the unwinder's d16 to d31", inside
    for (name in outside) printf "\n%d in %s", outside[name], name
    printf "\n"
}
