//! Throw-away keys and certificates. The openssl command makes them, so that nothing here shares code with what it
//! tests. Most are made once per process: a 2048-bit RSA key takes a while.

use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::OnceLock;

use ring::digest;

/// What every simulator of this process shares.
pub struct Material {
    /// The authority that signed the server's certificate.
    pub ca: String,
    /// Its key.
    ca_key: String,
    /// Certificate and key of both servers, for localhost, 127.0.0.1, ::1 and *.sim.test, which only an egress proxy
    /// resolves.
    pub server: String,
    /// As `server`, but of years ago.
    pub expired: String,
    /// Key and certificate with which the proxy signs in.
    pub client: String,
    /// The client's certificate, as Entra ID knows it.
    pub registered: Registered,
}

/// A certificate uploaded to the application in Entra ID.
#[derive(Clone, Debug)]
pub struct Registered {
    pub der: Vec<u8>,
    pub sha1: Vec<u8>,
    pub sha256: Vec<u8>,
    /// PKCS#1 `RSAPublicKey`, which is what ring verifies with.
    pub public_key: Vec<u8>,
}

impl Registered {
    /// Reads the first certificate of a PEM text.
    pub fn from_pem(pem: &str) -> Self {
        let der = openssl(&["x509", "-outform", "DER"], pem.as_bytes());
        let spki = openssl(&["x509", "-pubkey", "-noout"], pem.as_bytes());
        let public_key = openssl(&["rsa", "-pubin", "-RSAPublicKey_out", "-outform", "DER"], &spki);
        Self {
            sha1: digest::digest(&digest::SHA1_FOR_LEGACY_USE_ONLY, &der).as_ref().to_vec(),
            sha256: digest::digest(&digest::SHA256, &der).as_ref().to_vec(),
            der,
            public_key,
        }
    }
}

/// The shared material, made at the first call.
pub fn material() -> &'static Material {
    static MATERIAL: OnceLock<Material> = OnceLock::new();
    MATERIAL.get_or_init(|| {
        let dir = super::temp_dir("auth-proxy-sim-keys");
        let (ca, server, expired) = authority_and_servers(&dir, AUTHORITY);
        let ca_key = read(&dir.join("ca.key"));
        let _ = std::fs::remove_dir_all(&dir);
        let client = client_pem("auth-proxy test");
        let registered = Registered::from_pem(&client);
        Material { ca, ca_key, server, expired, client, registered }
    })
}

/// The name of the authority that every simulator of this process shares.
const AUTHORITY: &str = "auth-proxy simulator";

/// The names of a server on loopback, as an extension.
const NAMES: &str = "subjectAltName=DNS:localhost,DNS:*.sim.test,IP:127.0.0.1,IP:::1\n";

/// A server's certificate and key, such as a client should refuse, or think twice about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Odd {
    /// For clients alone.
    WrongPurpose,
    /// Signed with SHA-1.
    Sha1,
    /// X.509 version 1: without any extension.
    Version1,
    /// By an authority that has the name of ours, and another key.
    OtherKeyOfTheAuthority,
    /// A CA certificate that has signed itself, as `openssl req -x509` makes it.
    SelfSigned,
    /// The same, expired years ago.
    SelfSignedExpired,
    /// The same, with its name in the common name alone.
    SelfSignedNameless,
    /// The same, for clients alone.
    SelfSignedWrongPurpose,
}

/// An authority of another name than ours, and a server's certificate and key by it.
pub fn other_authority_and_server() -> (String, String) {
    let dir = super::temp_dir("auth-proxy-sim-other");
    let (ca, server, _) = authority_and_servers(&dir, "another authority");
    let _ = std::fs::remove_dir_all(&dir);
    (ca, server)
}

/// Makes such a certificate: PEM, the key after it.
pub fn odd_server(odd: Odd) -> String {
    let dir = super::temp_dir("auth-proxy-sim-odd");
    let pem = make_odd(&dir, odd);
    let _ = std::fs::remove_dir_all(&dir);
    pem
}

/// A certificate by the authority that every simulator shares, and its ECDSA key, as one PEM text: for a server of the usual
/// names, or for a client; of today, or of years ago.
pub fn issued(subject: &str, for_client: bool, is_expired: bool) -> String {
    let dir = super::temp_dir("auth-proxy-sim-issued");
    let file = |name: &str| dir.join(name).to_str().unwrap().to_owned();
    let Material { ca, ca_key, .. } = material();
    let purpose = if for_client { "extendedKeyUsage=clientAuth\n" } else { NAMES };
    let issuer = format!(
        "[ca]\ndefault_ca=this\n[this]\ndatabase={0}/index\nserial={0}/serial\nnew_certs_dir={0}\ndefault_md=sha256\n\
         policy=any\n[any]\ncommonName=supplied\n[req]\ndistinguished_name=name\n[name]\n",
        dir.display()
    );
    let leaf = format!("basicConstraints=critical,CA:FALSE\n{purpose}");
    let files = [
        ("ca.pem", ca.as_str()),
        ("ca.key", ca_key),
        ("leaf.ext", &leaf),
        ("issuer.cnf", &issuer),
        ("index", ""),
    ];
    for (name, content) in files.into_iter().chain([("serial", "06")]) {
        std::fs::write(file(name), content).unwrap();
    }
    let (config, csr, key, out) = (file("issuer.cnf"), file("csr"), file("key"), file("out"));
    let request = ["req", "-new", "-config", &config, "-subj", subject, "-keyout", &key, "-out", &csr];
    openssl(
        &[&request[..], &["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]].concat(),
        b"",
    );
    let (ca, ca_key, leaf) = (file("ca.pem"), file("ca.key"), file("leaf.ext"));
    let issue = ["ca", "-batch", "-notext", "-config", &config, "-cert", &ca, "-keyfile", &ca_key];
    let dates: &[&str] = if is_expired {
        &["-startdate", "20200101000000Z", "-enddate", "20210101000000Z"]
    } else {
        &["-days", "30"]
    };
    openssl(&[&issue[..], dates, &["-extfile", &leaf, "-in", &csr, "-out", &out]].concat(), b"");
    let pem = read(Path::new(&out)) + &read(Path::new(&key));
    let _ = std::fs::remove_dir_all(&dir);
    pem
}

fn make_odd(dir: &Path, odd: Odd) -> String {
    let file = |name: &str| dir.join(name).to_str().unwrap().to_owned();
    if odd == Odd::OtherKeyOfTheAuthority {
        return authority_and_servers(dir, AUTHORITY).1;
    }
    let Material { ca, ca_key, .. } = material();
    let purpose = if odd == Odd::WrongPurpose { "clientAuth" } else { "serverAuth" };
    let leaf = format!("basicConstraints=critical,CA:FALSE\nextendedKeyUsage={purpose}\n{NAMES}");
    let authority = "basicConstraints=critical,CA:TRUE\n";
    let own = match odd {
        Odd::SelfSignedNameless => authority.to_owned(),
        Odd::SelfSignedWrongPurpose => format!("{authority}extendedKeyUsage=clientAuth\n{NAMES}"),
        _ => format!("{authority}{NAMES}"),
    };
    let issuer = format!(
        "[ca]\ndefault_ca=this\n[this]\ndatabase={0}/index\nserial={0}/serial\nnew_certs_dir={0}\ndefault_md=sha256\n\
         policy=any\n[any]\ncommonName=supplied\n[req]\ndistinguished_name=name\nprompt=no\n[name]\nCN=unused\n",
        dir.display()
    );
    let files = [
        ("ca.pem", ca.as_str()),
        ("ca.key", ca_key),
        ("leaf.ext", &leaf),
        ("own.ext", &own),
        ("issuer.cnf", &issuer),
        ("index", ""),
        ("serial", "05"),
    ];
    for (name, content) in files {
        std::fs::write(file(name), content).unwrap();
    }
    let (config, csr, key, out) = (file("issuer.cnf"), file("csr"), file("key"), file("out"));
    let request =
        ["req", "-new", "-config", &config, "-subj", "/CN=localhost", "-keyout", &key, "-out", &csr];
    let new_key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"];
    openssl(&[&request[..], &new_key[..]].concat(), b"");
    let (ca, ca_key, leaf, own) = (file("ca.pem"), file("ca.key"), file("leaf.ext"), file("own.ext"));
    let by_authority =
        ["x509", "-req", "-days", "30", "-in", &csr, "-CA", &ca, "-CAkey", &ca_key, "-set_serial", "4"];
    let by_itself = ["ca", "-batch", "-notext", "-selfsign", "-config", &config, "-keyfile", &key];
    let (command, arguments): (&[&str], &[&str]) = match odd {
        Odd::WrongPurpose => (&by_authority, &["-sha256", "-extfile", &leaf]),
        Odd::Sha1 => (&by_authority, &["-sha1", "-extfile", &leaf]),
        // Newer commands make version 3 unless asked otherwise.
        Odd::Version1 => (&by_authority, &["-sha256"]),
        Odd::SelfSignedExpired => {
            (&by_itself, &["-startdate", "20200101000000Z", "-enddate", "20210101000000Z"])
        }
        _ => (&by_itself, &["-days", "30"]),
    };
    let rest: &[&str] =
        if command[0] == "ca" { &["-extfile", &own, "-in", &csr, "-out", &out] } else { &["-out", &out] };
    openssl(&[command, arguments, rest].concat(), b"");
    let pem = read(Path::new(&out));
    if odd == Odd::Version1 {
        let text = openssl(&["x509", "-noout", "-text"], pem.as_bytes());
        assert!(String::from_utf8_lossy(&text).contains("Version: 1 "), "the command made another version");
    }
    pem + &read(Path::new(&key))
}

/// A new RSA key with a self-signed certificate for a year, as one PEM text: key first.
pub fn client_pem(common_name: &str) -> String {
    let dir = super::temp_dir("auth-proxy-sim-client");
    let (key, certificate) = (dir.join("key.pem"), dir.join("certificate.pem"));
    openssl(
        &[
            "req",
            "-x509",
            "-newkey",
            "rsa:2048",
            "-nodes",
            "-days",
            "365",
            "-sha256",
            "-subj",
            &format!("/CN={common_name}"),
            "-keyout",
            text(&key),
            "-out",
            text(&certificate),
        ],
        b"",
    );
    let pem = read(&key) + &read(&certificate);
    let _ = std::fs::remove_dir_all(&dir);
    pem
}

/// Runs the openssl command and returns its standard output; any failure ends the test with its words.
pub fn openssl(arguments: &[&str], input: &[u8]) -> Vec<u8> {
    let mut child = Command::new("openssl")
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the simulator needs the `openssl` command on PATH");
    // A command that does not read its input may be gone already.
    let _ = child.stdin.take().unwrap().write_all(input);
    let output = child.wait_with_output().unwrap();
    assert!(
        output.status.success(),
        "openssl {} failed:\n{}",
        arguments.join(" "),
        String::from_utf8_lossy(&output.stderr)
    );
    output.stdout
}

fn authority_and_servers(dir: &Path, name: &str) -> (String, String, String) {
    let file = |name: &str| dir.join(name).to_str().unwrap().to_owned();
    let new_key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-sha256"];
    // Everything is named in files: flags that add extensions differ between versions of the command.
    let request = format!(
        "[req]\ndistinguished_name=name\nx509_extensions=ca\nprompt=no\n[name]\nCN={name}\n\
         [ca]\nbasicConstraints=critical,CA:TRUE\nkeyUsage=critical,keyCertSign\nsubjectKeyIdentifier=hash\n"
    );
    let leaf = "basicConstraints=critical,CA:FALSE\nkeyUsage=critical,digitalSignature\n\
        extendedKeyUsage=serverAuth\nsubjectAltName=DNS:localhost,DNS:*.sim.test,IP:127.0.0.1,IP:::1\n";
    std::fs::write(file("request.cnf"), request).unwrap();
    std::fs::write(file("leaf.ext"), leaf).unwrap();

    let (config, ca, ca_key) = (file("request.cnf"), file("ca.pem"), file("ca.key"));
    let (csr, key, extensions) = (file("server.csr"), file("server.key"), file("leaf.ext"));
    let authority = ["req", "-x509", "-days", "30", "-config", &config, "-keyout", &ca_key, "-out", &ca];
    openssl(&[&authority[..], &new_key[..]].concat(), b"");
    let server = ["req", "-new", "-config", &config, "-subj", "/CN=localhost", "-keyout", &key, "-out", &csr];
    openssl(&[&server[..], &new_key[..]].concat(), b"");
    let certificate = openssl(
        &[
            "x509",
            "-req",
            "-days",
            "30",
            "-sha256",
            "-in",
            &csr,
            "-CA",
            &ca,
            "-CAkey",
            &ca_key,
            "-set_serial",
            "2",
            "-extfile",
            &extensions,
        ],
        b"",
    );
    let key = read(Path::new(&key));
    let server = String::from_utf8(certificate).unwrap() + &key;
    // The one command that takes both dates in every version.
    let issuer = format!(
        "[ca]\ndefault_ca=this\n[this]\ndatabase={0}/index\nserial={0}/serial\nnew_certs_dir={0}\ndefault_md=sha256\n\
         policy=any\n[any]\ncommonName=supplied\n",
        dir.display()
    );
    for (name, content) in [("issuer.cnf", issuer.as_str()), ("index", ""), ("serial", "03")] {
        std::fs::write(file(name), content).unwrap();
    }
    let (config, expired) = (file("issuer.cnf"), file("expired.pem"));
    let authority = ["ca", "-batch", "-notext", "-config", &config, "-cert", &ca, "-keyfile", &ca_key];
    let dates = ["-startdate", "20200101000000Z", "-enddate", "20210101000000Z"];
    let files = ["-extfile", &extensions, "-in", &csr, "-out", &expired];
    openssl(&[&authority[..], &dates[..], &files[..]].concat(), b"");
    (read(Path::new(&ca)), server, read(Path::new(&expired)) + &key)
}

fn read(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap()
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}
