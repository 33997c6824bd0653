#!/bin/sh
# Makes every certificate file that the tests read: tests/data/make.sh OUTDIR
#
# Writes nothing outside OUTDIR and needs only a POSIX shell and the openssl command line, 1.1.1 or later.
# Keys are new in every run; names and dates are fixed, so that a test can say what it expects:
#   leaf*, chain, ...  CN=auth-proxy test        2024-01-01 .. 2049-12-31 (one exception: leaf-2060)
#   ca                 CN=auth-proxy test CA     2020-01-01 .. 2049-12-31
#   expired            CN=auth-proxy expired     2020-01-01 .. 2021-01-01
#   future             CN=auth-proxy future      2048-01-01 .. 2049-01-01
# The passphrase of the encrypted ones is "secret".
set -eu

[ $# -eq 1 ] || { echo "usage: $0 OUTDIR" >&2; exit 64; }
mkdir -p "$1"
cd "$1"
umask 077
: > make.log
# One quiet place for openssl's chatter, shown only when something fails.
trap 'status=$?; [ $status -eq 0 ] || cat make.log >&2; rm -rf work; exit $status' EXIT
rm -rf work
mkdir work

cat > work/ca.cnf <<'CNF'
[ca]
default_ca = this
[this]
dir = work
database = work/index.txt
serial = work/serial
new_certs_dir = work
default_md = sha256
policy = any
unique_subject = no
[any]
commonName = supplied
[authority]
basicConstraints = critical,CA:true
keyUsage = critical,keyCertSign
[req]
distinguished_name = name
prompt = no
[name]
commonName = unused
CNF
: > work/index.txt
echo 1000 > work/serial

rsa() { openssl genpkey -algorithm RSA -pkeyopt "rsa_keygen_bits:$2" -out "$1" 2>>make.log; }

# issue NAME CN NOT_BEFORE NOT_AFTER: a certificate for NAME.key, signed by the CA. `openssl ca` is the one command
# that takes both dates in every version.
issue() {
    openssl req -new -config work/ca.cnf -key "$1.key" -subj "/CN=$2" -out work/request.csr 2>>make.log
    openssl ca -config work/ca.cnf -batch -notext -cert ca.crt -keyfile ca.key \
        -startdate "$3" -enddate "$4" -in work/request.csr -out "$1.crt" 2>>make.log
}

# --- keys and certificates, apart

rsa ca.key 2048
openssl req -new -config work/ca.cnf -key ca.key -subj "/CN=auth-proxy test CA" -out work/ca.csr 2>>make.log
openssl ca -config work/ca.cnf -batch -notext -selfsign -extensions authority -keyfile ca.key \
    -startdate 20200101000000Z -enddate 20491231235959Z -in work/ca.csr -out ca.crt 2>>make.log

rsa leaf.key 2048
issue leaf "auth-proxy test" 20240101000000Z 20491231235959Z
openssl pkey -in leaf.key -pubout -out leaf.pub 2>>make.log
# PKCS#1, as ring reads it.
openssl rsa -pubin -in leaf.pub -RSAPublicKey_out -outform DER -out leaf.pub.der 2>>make.log

# The same key again: an older certificate, as left behind by a renewal, and one that needs a GeneralizedTime.
cp leaf.key old.key
issue old "auth-proxy test" 20240101000000Z 20250101000000Z
cp leaf.key leaf-2060.key
issue leaf-2060 "auth-proxy test" 20240101000000Z 20600101000000Z

rsa other.key 2048
issue other "auth-proxy other" 20240101000000Z 20491231235959Z
cp other.key expired.key
issue expired "auth-proxy expired" 20200101000000Z 20210101000000Z
cp other.key future.key
issue future "auth-proxy future" 20480101000000Z 20490101000000Z
rsa weak.key 1024
issue weak "auth-proxy weak" 20240101000000Z 20491231235959Z
openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out ec.key 2>>make.log
issue ec "auth-proxy ec" 20240101000000Z 20491231235959Z
openssl genpkey -algorithm ED25519 -out ed25519.key 2>>make.log
issue ed25519 "auth-proxy ed25519" 20240101000000Z 20491231235959Z

# --- files that work

cat leaf.key leaf.crt > key-first.pem
cat leaf.crt leaf.key > cert-first.pem
openssl pkey -in leaf.key -traditional -out work/pkcs1.key 2>>make.log
cat leaf.crt work/pkcs1.key > pkcs1.pem
cat leaf.key ca.crt leaf.crt > chain-ca-first.pem
cat leaf.key old.crt leaf.crt ca.crt > renewed.pem
cat leaf.key leaf.crt old.crt ca.crt > renewed-first.pem
cat leaf.key leaf.crt ca.crt ca.crt leaf.crt > doubled.pem
cat leaf.key leaf-2060.crt > leaf-2060.pem
cat other.key other.crt > other.pem
{ printf '\357\273\277'; cat cert-first.pem; } > bom.pem
{ printf '\357\273\277'; cat leaf.crt; printf '\357\273\277'; cat leaf.key; } > bom-twice.pem
awk '{ printf "%s\r\n", $0 }' cert-first.pem > crlf.pem
awk '{ printf "    %s\n", $0 }' cert-first.pem > indented.pem
# Two files joined by cat, the first without a newline at its end.
{ printf '%s' "$(cat leaf.crt)"; cat leaf.key; } > joined.pem
openssl pkcs12 -export -inkey leaf.key -in leaf.crt -certfile ca.crt -name "auth proxy" \
    -out pfx.pfx -passout pass:secret 2>>make.log
openssl pkcs12 -in pfx.pfx -passin pass:secret -nodes -out bag-attributes.pem 2>>make.log

# --- files with a password: every algorithm that openssl writes and we read

legacy() { case $(openssl version) in *" 1."*) ;; *) echo "$1" ;; esac; }
# pfx NAME PASSWORD FLAG...: leaf and CA in a PFX; what openssl 3 calls legacy works only with its flag.
pfx() {
    name=$1 password=$2
    shift 2
    PFX_PASSWORD=$password openssl pkcs12 -export $(legacy -legacy) -inkey leaf.key -in leaf.crt -certfile ca.crt \
        -out "$name.pfx" -passout env:PFX_PASSWORD "$@" 2>>make.log
}
both() { echo "-keypbe $1 -certpbe $1"; }
pfx pfx-legacy secret -keypbe PBE-SHA1-3DES -certpbe PBE-SHA1-RC2-40 -macalg sha1
pfx pfx-descert secret -descert
pfx pfx-nomac secret $(both AES-256-CBC) -nomac
pfx pfx-legacy-nomac secret -keypbe PBE-SHA1-3DES -certpbe PBE-SHA1-RC2-40 -nomac
pfx pfx-rc2-40 secret $(both PBE-SHA1-RC2-40) -macalg sha1
pfx pfx-rc2-128 secret $(both PBE-SHA1-RC2-128) -macalg sha1
pfx pfx-2des secret $(both PBE-SHA1-2DES) -macalg sha1
pfx pfx-aes128-sha224 secret $(both AES-128-CBC) -macalg sha224
pfx pfx-aes128 secret $(both AES-128-CBC) -macalg sha256
pfx pfx-aes192 secret $(both AES-192-CBC) -macalg sha384
pfx pfx-aes256 secret $(both AES-256-CBC) -macalg sha512
pfx pfx-des3-pbes2 secret $(both DES-EDE3-CBC) -macalg sha256
pfx pfx-windows-aes secret $(both AES-256-CBC) -macalg sha256 -iter 2000
pfx pfx-windows-3des secret $(both PBE-SHA1-3DES) -macalg sha1 -iter 2000
pfx pfx-macos secret -keypbe PBE-SHA1-3DES -certpbe PBE-SHA1-RC2-40 -macalg sha1 -nomaciter
pfx pfx-plain-certs secret -keypbe AES-256-CBC -certpbe NONE -macalg sha256
pfx pfx-plain "" $(both NONE) -nomac
pfx pfx-empty "" $(both AES-256-CBC) -macalg sha256
pfx pfx-empty-legacy "" -keypbe PBE-SHA1-3DES -certpbe PBE-SHA1-RC2-40 -macalg sha1
pfx pfx-empty-nomac "" $(both PBE-SHA1-3DES) -nomac
pfx pfx-unicode "pä ß€" $(both AES-256-CBC) -macalg sha256
pfx pfx-unicode-legacy "pä ß€" $(both PBE-SHA1-3DES) -macalg sha1
pfx pfx-nokeys secret $(both AES-256-CBC) -macalg sha256 -nokeys
pfx pfx-rc4 secret $(both PBE-SHA1-RC4-128) -macalg sha1
openssl pkcs12 -export -nocerts -inkey leaf.key -out pfx-nocerts.pfx -passout pass:secret 2>>make.log
openssl pkcs12 -export -inkey ec.key -in ec.crt -out pfx-ec.pfx -passout pass:secret 2>>make.log
openssl pkcs12 -export -inkey other.key -in other.crt -out other.pfx -passout pass:secret 2>>make.log
openssl base64 -A -in pfx-empty-legacy.pfx -out pfx-base64-one-line.txt

# encrypted NAME FLAG...: the leaf with its key encrypted to PKCS#8.
encrypted() {
    name=$1
    shift
    openssl pkcs8 -topk8 $(legacy "-provider legacy -provider default") -in leaf.key -passout pass:secret "$@" \
        -out work/encrypted.key 2>>make.log
    cat leaf.crt work/encrypted.key > "$name.pem"
}
encrypted encrypted-sha1 -v2 aes-128-cbc -v2prf hmacWithSHA1
encrypted encrypted-sha224 -v2 aes-192-cbc -v2prf hmacWithSHA224
encrypted encrypted-sha384 -v2 aes-256-cbc -v2prf hmacWithSHA384
encrypted encrypted-sha512 -v2 aes-256-cbc -v2prf hmacWithSHA512
encrypted encrypted-des3 -v2 des3
encrypted encrypted-scrypt -scrypt
encrypted encrypted-pbes1-3des -v1 PBE-SHA1-3DES
encrypted encrypted-pbes1-rc2 -v1 PBE-SHA1-RC2-40
encrypted encrypted-md5-des -v1 PBE-MD5-DES
encrypted encrypted-rc4 -v1 PBE-SHA1-RC4-128
encrypted encrypted-many -iter 2000001
for cipher in aes128 aes192 aes256 des3 des; do
    openssl pkey $(legacy "-provider legacy -provider default") -in leaf.key -traditional -$cipher -passout pass:secret \
        -out work/dek-info.key 2>>make.log
    cat leaf.crt work/dek-info.key > dek-info-$cipher.pem
done

# --- a chain of three, in disorder, with what does not belong to it

cat > work/chain.cnf <<'CNF'
[intermediate]
basicConstraints = critical,CA:true
subjectKeyIdentifier = hash
[leaf]
subjectKeyIdentifier = hash
authorityKeyIdentifier = keyid
CNF
# issue_by ISSUER SECTION NAME CN: as issue, with extensions.
issue_by() {
    openssl req -new -config work/ca.cnf -key "$3.key" -subj "/CN=$4" -out work/request.csr 2>>make.log
    openssl ca -config work/ca.cnf -batch -notext -cert "$1.crt" -keyfile "$1.key" -extfile work/chain.cnf \
        -extensions "$2" -startdate 20240101000000Z -enddate 20491231235959Z -in work/request.csr -out "$3.crt" 2>>make.log
}
cp other.key intermediate.key
issue_by ca intermediate intermediate "auth-proxy intermediate"
rsa decoy.key 2048
issue_by ca intermediate decoy "auth-proxy intermediate"
cp leaf.key deep.key
issue_by intermediate leaf deep "auth-proxy deep"
cat ca.crt decoy.crt ec.crt intermediate.crt deep.crt leaf.key expired.crt ca.crt > chain-of-three.pem
cat deep.crt ca.crt leaf.key > chain-with-a-gap.pem
cat ca.crt deep.crt intermediate.crt > chain-of-three.crt

# --- files that do not work

sed '/-----/d' leaf.crt > certificate-base64.pem
cp pfx.pfx pfx-named.pem
openssl x509 -in leaf.crt -outform DER -out certificate.der 2>>make.log
openssl pkey -in leaf.key -outform DER -out key.der 2>>make.log
openssl base64 -in pfx.pfx -out pfx-base64.pem
openssl base64 -in cert-first.pem -out pem-base64.pem
cat ec.key ec.crt > ec.pem
{ openssl ecparam -name prime256v1 -genkey 2>>make.log; cat ec.crt; } > ec-sec1.pem
cat ed25519.key ed25519.crt > ed25519.pem
cat weak.key weak.crt > weak.pem
openssl genpkey -algorithm RSA-PSS -pkeyopt rsa_keygen_bits:2048 -out pss.key 2>>make.log
cat pss.key leaf.crt > pss.pem
openssl pkcs8 -topk8 -in leaf.key -passout pass:secret -out work/encrypted.key 2>>make.log
cat leaf.crt work/encrypted.key > encrypted.pem
openssl pkey -in leaf.key -traditional -aes256 -passout pass:secret -out work/dek-info.key 2>>make.log
cat leaf.crt work/dek-info.key > dek-info.pem
cat leaf.key other.key leaf.crt > two-keys.pem
cat leaf.crt ca.crt > no-key.pem
cat leaf.crt leaf.pub > public-key.pem
cp leaf.key no-cert.pem
cat leaf.key work/ca.csr > request.pem
cat leaf.key other.crt ca.crt > mismatch.pem
cat expired.key expired.crt > expired.pem
cat future.key future.crt > future.pem
: > empty.pem
printf '\n  \n' > blank.pem
echo "This is not the file you are looking for." > garbage.pem
# The end is missing: in the middle of a line of the second block, and right after the first one's body.
head -c "$(($(wc -c < cert-first.pem) - 200))" cert-first.pem > truncated.pem
{ sed '/END/d' leaf.crt; cat leaf.key; } > no-end.pem
sed '1d' cert-first.pem > no-begin.pem
awk 'NR == 3 { sub(/^..../, "!!!!") } { print }' cert-first.pem > bad-base64.pem
{ cat leaf.key; echo "-----BEGIN CERTIFICATE-----"; echo "bm90IGEgY2VydGlmaWNhdGU="; echo "-----END CERTIFICATE-----"; } \
    > bad-certificate.pem
{ echo "-----BEGIN PRIVATE KEY-----"; echo "bm90IGEga2V5"; echo "-----END PRIVATE KEY-----"; cat leaf.crt; } > bad-key.pem
{ cat cert-first.pem; echo "-----BEGIN CERTIFICATE-----"; echo "bm90IGEgY2VydGlmaWNhdGU="; echo "-----END CERTIFICATE-----"; } \
    > bad-extra-certificate.pem
# As a JSON secret or an environment variable carries it: backslash and n, or blanks, for every line break.
awk '{ printf "%s\\n", $0 }' cert-first.pem > escaped.pem
awk '{ printf "%s ", $0 }' cert-first.pem > one-line.pem
# As PowerShell's `>` writes it.
{
    printf '\377\376'
    od -An -v -to1 cert-first.pem | tr -s ' ' '\n' | while read -r octal; do [ -z "$octal" ] || printf "\\$octal\\000"; done
} > utf16.pem

# A key of 16384 bits takes minutes to make; this one only has the shape.
big=$(printf '%4094s' '' | tr ' ' 'f')
cat > work/huge.cnf <<CNF
asn1 = SEQUENCE:key
[key]
version = INTEGER:0
n = INTEGER:0xC${big}f
e = INTEGER:65537
d = INTEGER:0x5${big}f
p = INTEGER:3
q = INTEGER:3
dp = INTEGER:3
dq = INTEGER:3
qi = INTEGER:3
CNF
openssl asn1parse -genconf work/huge.cnf -noout -out work/huge.der >>make.log 2>&1
{ echo "-----BEGIN RSA PRIVATE KEY-----"; openssl base64 -in work/huge.der; echo "-----END RSA PRIVATE KEY-----"; cat leaf.crt; } > huge.pem

# --- what other tools make of them

# A serial number of 24 octets (RFC 5280 allows 20), and a name in BMPString or TeletexString, as older CAs wrote it.
cp leaf.key long-serial.key
cp work/serial work/serial.kept
echo 7F0102030405060708090A0B0C0D0E0F1011121314151617 > work/serial
issue long-serial "auth-proxy test" 20240101000000Z 20491231235959Z
cp work/serial.kept work/serial
cat leaf.key long-serial.crt > long-serial.pem
cp work/ca.cnf work/plain.cnf
for kind in bmp:0x800 teletex:0x4; do
    name=${kind%:*}
    awk -v mask="${kind#*:}" '{ print } /^\[req\]/ { print "string_mask = MASK:" mask; print "utf8 = yes" }' \
        work/plain.cnf > work/ca.cnf
    cp leaf.key "$name.key"
    issue "$name" "Zoë, Straße" 20240101000000Z 20491231235959Z
    cat leaf.key "$name.crt" > "$name.pem"
done
cp work/plain.cnf work/ca.cnf

# Parameters of a kind whose label has a dot and digits.
{ cat cert-first.pem; echo "-----BEGIN X9.42 DH PARAMETERS-----"; echo "MAYCAQMCAQI="; echo "-----END X9.42 DH PARAMETERS-----"; } \
    > dh-parameters.pem
sed 's/ CERTIFICATE-/ X509 CERTIFICATE-/' cert-first.pem > x509-certificate.pem
sed 's/ CERTIFICATE-/ X.509 CERTIFICATE-/' cert-first.pem > x-509-certificate.pem
{ printf '"'; printf '%s' "$(cat cert-first.pem)"; printf '"\n'; } > quoted.pem
{ printf "'"; cat cert-first.pem; echo "'"; } > quoted-singly.pem
{ printf '"'; printf '%s' "$(cat escaped.pem)"; printf '"\n'; } > escaped-quoted.pem

openssl crl2pkcs7 -nocrl -certfile leaf.crt -out work/pkcs7.pem 2>>make.log
cat work/pkcs7.pem leaf.key > pkcs7.pem
cp work/pkcs7.pem pkcs7-alone.pem
openssl crl2pkcs7 -nocrl -certfile leaf.crt -outform DER -out pkcs7.der 2>>make.log
tail -c +3 utf16.pem > utf16-le.pem
{
    od -An -v -to1 cert-first.pem | tr -s ' ' '\n' | while read -r octal; do [ -z "$octal" ] || printf "\\000\\$octal"; done
} > utf16-be.pem
{
    printf 'apiVersion: v1\nkind: Secret\ntype: kubernetes.io/tls\ndata:\n'
    printf '  tls.crt: %s\n  tls.key: "%s"\n' "$(openssl base64 -A -in leaf.crt)" "$(openssl base64 -A -in leaf.key)"
} > secret.yaml
openssl genpkey -algorithm RSA -pkeyopt rsa_keygen_bits:2048 -pkeyopt rsa_keygen_primes:3 -out multi-prime.key 2>>make.log
issue multi-prime "auth-proxy primes" 20240101000000Z 20491231235959Z
cat multi-prime.key multi-prime.crt > multi-prime.pem
# The start of OpenSSH's own form, which names the kind of key in the clear: a string is its length and its bytes.
openssh() {
    echo "-----BEGIN OPENSSH PRIVATE KEY-----"
    printf "openssh-key-v1\\000\\000\\000\\000\\004none\\000\\000\\000\\004none\\000\\000\\000\\000\\000\\000\\000\\001\\000\\000\\000\\$1\\000\\000\\000\\$2$3" \
        | openssl base64
    echo "-----END OPENSSH PRIVATE KEY-----"
}
{ openssh 013 007 ssh-rsa; cat leaf.crt; } > openssh.pem
{ openssh 017 013 ssh-ed25519; cat leaf.crt; } > openssh-ed25519.pem
