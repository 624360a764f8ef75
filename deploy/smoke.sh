#!/usr/bin/env bash
# Runs the programs of the packages as far as this machine can run them, arm64 and armhf by QEMU's emulation of a processor.
#
#     deploy/smoke.sh                  every package in target/packages
#     deploy/smoke.sh armhf            one of them, on an emulated ARM1176, the processor of the first Pi and of the Zero
#
# Each says its version, refuses a wrong file, then is a gateway with Mosquitto as its cloud on this machine: a TLS handshake
# with certificates on both sides, readings of simulated devices and 20 messages of a client at home reach the cloud, a
# command from there is applied once and replayed after `kill -9`, and SIGTERM ends it with 0. Exit code 0: all of it held.
# As root on Debian 12: what is missing is installed by apt. Two minutes. The last result is in docs/packages.md.
#
# What is emulated is the processor: the kernel is this machine's, and time is ten times slower. arm64 has Debian's glibc for
# arm64. For armhf Debian's glibc is ARMv7, and would itself end with SIGILL on this processor (as it should: that is looked
# at first). Raspberry Pi OS has an ARMv6 one, which no Debian mirror has. So the program runs with Debian's glibc for armel,
# ARMv5 and its calls with floating point in other registers: the loader takes it because one bit of a copy's ELF header
# (EF_ARM_ABI_FLOAT_HARD) is changed, and the few functions of libm that the program calls go through one of ours, which hands
# their numbers over from one convention to the other. Code, data and everything else are those of the package, to the byte.
set -euo pipefail
cd "$(dirname "$0")/.."
repository=$PWD
tools=$repository/target/tools
stage=$repository/target/smoke
PATIENCE=120

# Debian's glibc for armel, unpacked below target/: by an apt that knows this architecture and no other, and leaves the
# machine's own alone.
unpack_armel() {
    local root=$tools/armel options
    [ ! -e "$root/lib/ld-linux.so.3" ] || return 0
    rm -rf "$root" "$tools/armel.apt"
    mkdir -p "$root" "$tools/armel.apt/lists/partial" "$tools/armel.apt/archives/partial"
    : > "$tools/armel.apt/status"
    options=(-o APT::Architecture=armel -o APT::Architectures::=armel -o APT::Sandbox::User=root
        -o "Dir::State::lists=$tools/armel.apt/lists" -o "Dir::State::status=$tools/armel.apt/status"
        -o "Dir::Cache=$tools/armel.apt")
    apt-get -q "${options[@]}" update
    (cd "$tools/armel.apt" && apt-get -q "${options[@]}" download libc6)
    dpkg-deb --extract "$tools"/armel.apt/libc6_*.deb "$root"
    rm -rf "$tools/armel.apt"
}

# A libm.so.6 in DIRECTORY with what PROGRAM wants of it: each function calls armel's, which takes numbers in other registers.
bridge_libm() { # PROGRAM DIRECTORY
    local symbol name version parameters arguments
    mkdir -p "$2"
    # The loader knows a library by its file and by its name: this one has neither of the other.
    cp "$tools/armel/lib/arm-linux-gnueabi/libm.so.6" "$2/armel-libm.so"
    printf '#include <dlfcn.h>\n#include <stdlib.h>\nstatic void *library;\n' > "$2/libm.c"
    printf '__attribute__((constructor)) static void load(void) { if (!(library = dlopen("%s", RTLD_NOW))) abort(); }\n' \
        "$2/armel-libm.so" >> "$2/libm.c"
    : > "$2/libm.map"
    while read -r symbol; do
        name=${symbol%@*}
        version=${symbol#*@}
        case $name in
        pow | fmod | atan2 | hypot)
            parameters='double a, double b'
            arguments='a, b'
            ;;
        log | log2 | log10 | log1p | exp | exp2 | expm1 | sin | cos | tan | asin | acos | atan | sinh | cosh | tanh | cbrt)
            parameters='double a'
            arguments='a'
            ;;
        *)
            echo "$1 calls $symbol, which this trial cannot hand over" >&2
            exit 1
            ;;
        esac
        printf 'double %s(%s) { double (*f)(%s) __attribute__((pcs("aapcs"))) = dlsym(library, "%s"); return f(%s); }\n' \
            "$name" "$parameters" "$parameters" "$name" "$arguments" >> "$2/libm.c"
        printf '%s { global: %s; };\n' "$version" "$name" >> "$2/libm.map"
    done < <(readelf --dyn-syms --wide "$1" | awk '$7 == "UND" && $8 ~ /^(pow|fmod|hypot|cbrt|fma|[as]?(sin|cos|tan)[h2]?|exp|log|floor|ceil|round|trunc|rint|nearbyint|sqrt|f?(max|min)|l[dg]|frexp|modf|strto[dfl]d?|atof)[0-9a-z]*@/ { print $8 }' | grep -v '^strtol\|^logout')
    "$tools/zig/bin/python3" -m ziglang cc -target arm-linux-gnueabihf.2.31 -mcpu=arm1176jzf_s -shared -O1 -fno-builtin \
        -Wl,-soname,libm.so.6 "-Wl,--version-script=$2/libm.map" -o "$2/libm.so.6" "$2/libm.c"
    pass_as_soft_float "$2/libm.so.6"
}

# What the loader looks at before it takes a program or a library: e_flags in the ELF header, 0x05000400 (hard float), which
# becomes 0x05000200.
pass_as_soft_float() { # FILE
    printf '\x00\x02\x00\x05' | dd of="$1" bs=1 seek=36 conv=notrunc status=none
}

# Waits until COMMAND says yes, or gives up.
until_it_holds() { # WHAT COMMAND...
    local what=$1 end=$((SECONDS + PATIENCE))
    shift
    until "$@" > /dev/null 2>&1; do
        if [ $SECONDS -ge $end ]; then
            echo "NOT SO after $PATIENCE s: $what" >&2
            tail -n 30 "$house/gateway.log" "$house/cloud.log" >&2
            exit 1
        fi
        sleep 0.3
    done
    printf '    %s\n' "$what"
}

# Two ports that nobody listens on now. Another program may take them meanwhile: then the trial fails, loudly.
free_ports() {
    python3 -c '
import socket
held = [socket.socket() for _ in range(4)]
for one in held: one.bind(("127.0.0.1", 0))
print(*(one.getsockname()[1] for one in held))'
}

identity() { # NAME EXTENSIONS
    openssl req -new -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -subj "/CN=$1" -keyout "$house/$1.key" -out "$house/$1.csr" 2> /dev/null
    openssl x509 -req -in "$house/$1.csr" -CA "$house/ca.pem" -CAkey "$house/ca.key" -CAcreateserial -days 30 \
        -extfile <(printf 'basicConstraints=CA:FALSE\n%s\n' "$2") -out "$house/$1.pem" 2> /dev/null
}

# Writes the script that runs the program, and leaves its path in `run`.
runner() { # ARCH PROGRAM
    run=$house/run
    case $1 in
    amd64) printf '#!/bin/sh\nexec "%s" "$@"\n' "$2" > "$run" ;;
    arm64) printf '#!/bin/sh\nexec qemu-aarch64-static -L /usr/aarch64-linux-gnu "%s" "$@"\n' "$2" > "$run" ;;
    armhf)
        if qemu-arm-static -cpu arm1176 -L /usr/arm-linux-gnueabihf /usr/arm-linux-gnueabihf/lib/ld-linux-armhf.so.3 --version > /dev/null 2>&1; then
            echo "Debian's ARMv7 loader runs on the emulated ARM1176: this trial would find nothing" >&2
            exit 1
        fi
        printf '    the emulated ARM1176 refuses ARMv7: Debian%ss loader for armhf dies on it\n' "'"
        unpack_armel
        local libraries=$tools/armel/lib/arm-linux-gnueabi
        bridge_libm "$2" "$house/libm"
        cp "$2" "$2.armel"
        pass_as_soft_float "$2.armel"
        printf '#!/bin/sh\nexec qemu-arm-static -cpu arm1176 "%s" --library-path "%s" "%s" "$@"\n' \
            "$libraries/ld-linux.so.3" "$house/libm:$libraries" "$2.armel" > "$run"
        ;;
    esac
    chmod +x "$run"
}

try_out() { # ARCH
    local package lan phone line web
    package=$(find target/packages -name "hearthlink_*_$1.deb" | sort -V | tail -n 1)
    [ -n "$package" ] || { echo "no package for $1 in target/packages: deploy/build.sh $1" >&2; exit 1; }
    printf '%s  %s\n' "$(sha256sum "$package" | cut -c 1-16)" "$package"
    house=$stage/$1
    rm -rf "$house"
    mkdir -p "$house/package"
    dpkg-deb --extract "$package" "$house/package"
    runner "$1" "$house/package/usr/bin/hearthlink"
    printf '    %s\n' "$("$run" --version)"

    openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 30 -subj /CN=trial -keyout "$house/ca.key" -out "$house/ca.pem" 2> /dev/null
    identity localhost 'subjectAltName=DNS:localhost'
    identity home extendedKeyUsage=clientAuth
    read -r lan phone line web <<< "$(free_ports)"
    cat > "$house/cloud.conf" <<END
user root
per_listener_settings true
log_dest stderr
listener $line 127.0.0.1
socket_domain ipv4
protocol websockets
certfile $house/localhost.pem
keyfile $house/localhost.key
cafile $house/ca.pem
require_certificate true
use_identity_as_username true
listener $phone 127.0.0.1
allow_anonymous true
END
    cat > "$house/house.yaml" <<END
gateway: {id: home, data_dir: $house/data}
broker: {listeners: [{address: "127.0.0.1:$lan"}]}
web: {address: "127.0.0.1:$web"}
cloud:
  url: wss://localhost:$line/mqtt
  ca_file: $house/ca.pem
  certificate_file: $house/home.pem
  key_file: $house/home.key
commands: {allow: [{device: toaster, set: {state: any}}]}
routes: [{local: sensors/#}]
devices:
  - {id: toaster, kind: toaster}
  - {id: thermometer, kind: thermometer, options: {interval: 1s}}
END
    "$run" check --config "$house/house.yaml" > "$house/check.log"
    sed 's/kind: toaster/kind: toster/' "$house/house.yaml" > "$house/wrong.yaml"
    if "$run" check --config "$house/wrong.yaml" > "$house/wrong.log" 2>&1; then
        echo "a file with a misspelt kind passed" >&2
        exit 1
    fi
    printf '    check: a good file passes, a misspelt kind does not\n'

    mosquitto -c "$house/cloud.conf" > "$house/cloud.log" 2>&1 &
    running+=($!)
    until_it_holds "the cloud listens" grep -q ' running$' "$house/cloud.log"
    mosquitto_sub -p "$phone" -t 'hearthlink/#' -v > "$house/phone.log" 2>&1 &
    running+=($!)
    begin
    until_it_holds "a reading of the thermometer reached the cloud" grep -q '^hearthlink/home/thermometer ' "$house/phone.log"
    for n in $(seq 20); do
        mosquitto_pub -p "$lan" -q 1 -t "sensors/attic/$n" -m "$n.5"
    done
    for n in $(seq 20); do
        until_it_holds "message $n of 20 reached the cloud" grep -qx "hearthlink/home/sensors/attic/$n $n.5" "$house/phone.log"
    done | tail -n 1
    command="{\"id\": \"trial-1\", \"state\": \"ON\", \"at\": \"$(date -u +%FT%TZ)\"}"
    mosquitto_pub -p "$phone" -q 1 -t hearthlink/home/toaster/set -m "$command"
    until_it_holds "the toaster's command was applied" told '"status":"applied"'
    kill -KILL "$gateway"
    wait "$gateway" 2> /dev/null || true
    begin
    mosquitto_pub -p "$phone" -q 1 -t hearthlink/home/toaster/set -m "$command"
    until_it_holds "after kill -9 the same command is told from the journal, not run again" \
        told '"duplicate":true'
    kill -TERM "$gateway"
    wait "$gateway" || { echo "SIGTERM ended it with $?" >&2; exit 1; }
    printf '    SIGTERM ended it with 0\n'
    end
}

# Starts the gateway, and waits until its page says that it is ready.
begin() {
    "$run" run --config "$house/house.yaml" >> "$house/gateway.log" 2>&1 &
    gateway=$!
    running+=("$gateway")
    until_it_holds "the gateway's line to the cloud is up" connected
}

# Whether an outcome of the command says so, in whatever order.
told() { # TEXT
    grep '^hearthlink/home/toaster/result ' "$house/phone.log" | grep -F '"id":"trial-1"' | grep -qF "$1"
}

connected() {
    kill -0 "$gateway" && curl --silent --fail --max-time 10 "http://127.0.0.1:$web/api/status" | grep -q '"link": *{[^}]*"state": *"online"'
}

# Only what this script started.
running=()
end() {
    local process
    for process in "${running[@]}"; do
        kill -KILL "$process" 2> /dev/null || true
        wait "$process" 2> /dev/null || true
    done
    running=()
}
trap end EXIT

deploy/need binutils ca-certificates curl libc6-arm64-cross libc6-armhf-cross mosquitto mosquitto-clients openssl qemu-user-static
if [ $# -eq 0 ]; then
    mapfile -t archs < <(find target/packages -name 'hearthlink_*.deb' | sed 's/.*_\(.*\)\.deb/\1/' | sort -u)
    set -- "${archs[@]}"
fi
[ $# -gt 0 ] || { echo "no packages in target/packages: deploy/build.sh" >&2; exit 1; }
for arch in "$@"; do
    try_out "$arch"
done
printf 'all of it held, with %s\n' "$(dpkg-query -W -f='${Package} ${Version}, ' mosquitto qemu-user-static | sed 's/, $//')"
