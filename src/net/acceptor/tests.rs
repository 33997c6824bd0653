use std::fs;
use std::io::{Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread::JoinHandle;

use rustls::pki_types::{CertificateDer, ServerName};
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::version::{TLS12, TLS13};
use rustls::{
    ClientConfig, ClientConnection, HandshakeKind, ProtocolVersion, StreamOwned, SupportedProtocolVersion,
};

use super::*;
use crate::identity::pems::{self, pem};
use crate::net::handshake_error::HandshakeError;
use crate::net::pinned::Verifier;
use crate::net::tls_files::{MAX_FILE, read_certificates, read_key};
use crate::net::{self, Received, poll};

type Client = StreamOwned<ClientConnection, Socket>;

/// A client that accepts this certificate alone.
fn client_config(certificate: &Path, versions: &[&'static SupportedProtocolVersion]) -> ClientConfig {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let certificate = Some(read_certificates(certificate).unwrap().swap_remove(0));
    let verifier = Arc::new(Verifier { certificate, provider: Arc::clone(&provider) });
    let builder = ClientConfig::builder_with_provider(provider).with_protocol_versions(versions).unwrap();
    builder.dangerous().with_custom_certificate_verifier(verifier).with_no_client_auth()
}

/// Makes the handshake in a thread, then sends a word and reads one.
fn client(socket: Socket, config: &Arc<ClientConfig>) -> JoinHandle<std::io::Result<Client>> {
    let name = ServerName::try_from("localhost").unwrap();
    let session = ClientConnection::new(Arc::clone(config), name).unwrap();
    std::thread::spawn(move || {
        let mut client = StreamOwned::new(session, socket);
        client.write_all(b"ping")?;
        let mut word = [0; 4];
        client.read_exact(&mut word)?;
        assert_eq!(&word, b"pong");
        Ok(client)
    })
}

/// The server's side, to the end of the handshake.
fn handshake(stream: &mut Stream) -> Result<(), HandshakeError> {
    while let Some(wanted) = stream.poll_handshake()? {
        let deadline = Instant::now() + Duration::from_secs(20);
        poll::wait_one(stream.socket(), wanted, Some(deadline)).map_err(HandshakeError::Io)?;
    }
    Ok(())
}

fn ping(stream: &mut Stream) {
    let mut word = [0; 16];
    loop {
        match stream.receive(&mut word).unwrap() {
            Received::Bytes(count) => return assert_eq!(&word[..count], b"ping"),
            Received::Eof => panic!("the client has left"),
            Received::WouldBlock => {
                let deadline = Instant::now() + Duration::from_secs(20);
                poll::wait_one(stream.socket(), poll::Ready::READ, Some(deadline)).unwrap();
            }
        }
    }
}

fn pong(stream: &mut Stream) {
    assert_eq!(stream.send(b"pong").unwrap(), 4);
    assert!(stream.flush().unwrap());
}

/// Both sides of a connection that is in use.
fn connect(acceptor: &TlsAcceptor, config: &Arc<ClientConfig>) -> std::io::Result<(Stream, Client)> {
    let (near, far) = net::pair();
    let mut stream = acceptor.accept(near.share_socket())?;
    let client = client(far, config);
    handshake(&mut stream).map_err(HandshakeError::into_io)?;
    ping(&mut stream);
    pong(&mut stream);
    Ok((stream, client.join().unwrap()?))
}

/// A certificate of version 3 for a key of the shared ones.
fn certify(directory: &Path, key: &str) -> PathBuf {
    let certificate = directory.join(format!("{key}.crt"));
    let mut command = Command::new("openssl");
    command.args(["req", "-x509", "-new", "-days", "2", "-subj", "/CN=localhost", "-key"]).arg(pem(key));
    assert!(command.arg("-out").arg(&certificate).status().unwrap().success(), "{key}");
    certificate
}

/// The usual files.
fn usual(directory: &Path) -> TlsFiles {
    files(certify(directory, "ec.key"), pem("ec.key"))
}

fn files(certificate: PathBuf, key: PathBuf) -> TlsFiles {
    TlsFiles { certificate, key, client_ca: None }
}

#[test]
fn every_kind_of_key_serves_both_versions() {
    let directory = pems::scratch("keys of servers");
    let convert = |key: &str, arguments: &[&str]| {
        let out = directory.join(format!("{key}.converted"));
        let status =
            Command::new("openssl").args(arguments).arg("-in").arg(pem(key)).arg("-out").arg(&out).status();
        assert!(status.unwrap().success(), "{key}");
        out
    };
    let (rsa, ecdsa, ed25519) =
        (certify(&directory, "leaf.key"), certify(&directory, "ec.key"), certify(&directory, "ed25519.key"));
    let joined = |first: &Path, second: &Path| {
        let path = directory.join("joined.pem");
        fs::write(&path, [fs::read(first).unwrap(), fs::read(second).unwrap()].concat()).unwrap();
        path
    };
    let one_file = joined(&ecdsa, &pem("ec.key"));
    let rows = [
        ("RSA, PKCS#8", &rsa, pem("leaf.key")),
        ("RSA, PKCS#1", &rsa, convert("leaf.key", &["rsa", "-traditional"])),
        ("ECDSA, PKCS#8", &ecdsa, pem("ec.key")),
        ("ECDSA, SEC1", &ecdsa, convert("ec.key", &["ec"])),
        ("Ed25519", &ed25519, pem("ed25519.key")),
        ("both in one file", &one_file, one_file.clone()),
    ];
    for (what, certificate, key) in rows {
        let acceptor =
            TlsAcceptor::open(&files(certificate.clone(), key)).unwrap_or_else(|p| panic!("{what}: {p}"));
        for (version, number) in [(&TLS12, ProtocolVersion::TLSv1_2), (&TLS13, ProtocolVersion::TLSv1_3)] {
            let mut config = client_config(certificate, &[version]);
            for (offered, agreed) in [(vec![], None), (vec![&b"h2"[..], b"http/1.1"], Some(&b"http/1.1"[..]))]
            {
                config.alpn_protocols = offered.into_iter().map(<[u8]>::to_vec).collect();
                let (stream, client) = connect(&acceptor, &Arc::new(config.clone())).unwrap();
                assert_eq!(client.conn.protocol_version(), Some(number), "{what}");
                assert_eq!(client.conn.alpn_protocol(), agreed, "{what}");
                assert_eq!(stream.certificate_name(), None);
            }
            config.alpn_protocols = vec![b"h2".to_vec()];
            let refused = connect(&acceptor, &Arc::new(config)).unwrap_err().to_string();
            assert!(refused.contains("any known protocol"), "{what}: {refused}");
        }
    }
    fs::remove_dir_all(directory).unwrap();
}

/// The overflow makes no handshake of its own: receiving does.
#[test]
fn a_handshake_that_nobody_drives_is_made_by_receiving() {
    let directory = pems::scratch("lazy handshake");
    let files = usual(&directory);
    let acceptor = TlsAcceptor::open(&files).unwrap();
    for version in [&TLS12, &TLS13] {
        let config = Arc::new(client_config(&files.certificate, &[version]));
        let (near, far) = net::pair();
        let mut stream = acceptor.accept(near.share_socket()).unwrap();
        let client = client(far, &config);
        ping(&mut stream);
        pong(&mut stream);
        let mut client = client.join().unwrap().unwrap();
        stream.close_notify();
        assert_eq!(client.read(&mut [0]).unwrap(), 0, "an end in order");
    }
    fs::remove_dir_all(directory).unwrap();
}

/// Many records arrive with one read: poll(2) knows of the first alone.
#[test]
fn what_was_received_with_other_records_is_found_without_the_socket() {
    let directory = pems::scratch("many records");
    let files = usual(&directory);
    let acceptor = TlsAcceptor::open(&files).unwrap();
    let config = Arc::new(client_config(&files.certificate, &[&TLS13]));
    let (mut stream, mut client) = connect(&acceptor, &config).unwrap();
    for word in [b"one", b"two"] {
        client.conn.writer().write_all(word).unwrap();
        // Each is a record of its own, and both leave together.
        client.conn.process_new_packets().unwrap();
    }
    let mut records = Vec::new();
    while client.conn.wants_write() {
        client.conn.write_tls(&mut records).unwrap();
    }
    client.sock.write_all(&records).unwrap();
    let deadline = Instant::now() + Duration::from_secs(20);
    poll::wait_one(stream.socket(), poll::Ready::READ, Some(deadline)).unwrap();
    let mut word = [0; 3];
    assert_eq!(stream.receive(&mut word).unwrap(), Received::Bytes(3));
    assert_eq!(&word, b"one");
    assert!(!poll::peek(stream.socket(), poll::Ready::READ).unwrap().any());
    assert_eq!(stream.receive_buffered(&mut word).unwrap(), Received::Bytes(3));
    assert_eq!(&word, b"two");
    assert_eq!(stream.receive_buffered(&mut word).unwrap(), Received::WouldBlock);
    fs::remove_dir_all(directory).unwrap();
}

#[test]
fn plain_http_is_recognized_by_its_first_byte() {
    let directory = pems::scratch("plain HTTP");
    let files = usual(&directory);
    let acceptor = TlsAcceptor::open(&files).unwrap();
    for (bytes, is_http) in [
        (&b"GET / HTTP/1.1\r\n"[..], true),
        (b"P", true),
        (b"\x16\x03\x01\xff\xffgarbage", false),
        (b"\x80\x2e\x01\x00\x02", false),
        (b"\r\nGET / HTTP/1.1\r\n", false),
    ] {
        let (near, mut far) = net::pair();
        let mut stream = acceptor.accept(near.share_socket()).unwrap();
        far.write_all(bytes).unwrap();
        far.shutdown(std::net::Shutdown::Write).unwrap();
        assert_eq!(handshake(&mut stream).is_ok(), is_http, "{bytes:?}");
        assert_eq!(stream.is_plain_http(), is_http, "{bytes:?}");
        if is_http {
            let mut found = [0; 64];
            assert_eq!(stream.receive(&mut found).unwrap(), Received::Bytes(bytes.len()));
            assert_eq!(stream.receive(&mut found).unwrap(), Received::Eof);
        }
    }
    fs::remove_dir_all(directory).unwrap();
}

/// Records without an end must not keep a thread busy.
#[test]
fn a_handshake_without_end_is_broken_off() {
    let directory = pems::scratch("endless handshake");
    let files = usual(&directory);
    let acceptor = TlsAcceptor::open(&files).unwrap();
    let (near, mut far) = net::pair();
    let mut stream = acceptor.accept(near.share_socket()).unwrap();
    let endless = std::thread::spawn(move || {
        // ChangeCipherSpec, which a server has to ignore, or else refuse.
        while far.write_all(&[0x14, 3, 3, 0, 1, 1]).is_ok() {}
    });
    assert!(handshake(&mut stream).is_err());
    stream.socket().shutdown(std::net::Shutdown::Both).unwrap();
    drop((stream, near));
    endless.join().unwrap();
    fs::remove_dir_all(directory).unwrap();
}

/// Whom the client is called, or why it gets no further.
#[test]
fn a_client_is_called_by_its_certificate() {
    let directory = pems::scratch("certificates of clients");
    let server = usual(&directory);
    let acceptor = TlsAcceptor::open(&TlsFiles { client_ca: Some(pem("ca.crt")), ..server.clone() }).unwrap();
    let issue = |ca: &str, common_name: &str| {
        let (csr, extensions) = (directory.join("csr"), directory.join("extensions"));
        fs::write(&extensions, "basicConstraints=CA:FALSE\nextendedKeyUsage=clientAuth\n").unwrap();
        let subject = format!("/CN={common_name}");
        let mut request = Command::new("openssl");
        request.args(["req", "-new", "-subj", &subject, "-key"]).arg(pem("ec.key")).arg("-out").arg(&csr);
        assert!(request.status().unwrap().success());
        let mut command = Command::new("openssl");
        command.args(["x509", "-req", "-days", "2", "-set_serial", "7", "-outform", "DER", "-in"]).arg(&csr);
        command.arg("-CA").arg(pem(&format!("{ca}.crt"))).arg("-CAkey").arg(pem(&format!("{ca}.key")));
        let output = command.arg("-extfile").arg(&extensions).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        CertificateDer::from(output.stdout)
    };
    for version in [&TLS12, &TLS13] {
        let plain = client_config(&server.certificate, &[version]);
        let with = |certificate: CertificateDer<'static>| {
            let pair = CertifiedKey::new(vec![certificate], read_key(&pem("ec.key")).unwrap());
            let mut config = plain.clone();
            config.client_auth_cert_resolver = Arc::new(SingleCertAndKey::from(pair));
            Arc::new(config)
        };
        let (stream, _client) = connect(&acceptor, &with(issue("ca", "billing"))).unwrap();
        assert_eq!(stream.certificate_name().as_deref(), Some("billing"));
        for (config, wrong) in
            [(Arc::new(plain.clone()), "no certificates"), (with(issue("other", "billing")), "UnknownIssuer")]
        {
            let refused = connect(&acceptor, &config).unwrap_err().to_string();
            assert!(refused.contains(wrong), "{refused}");
        }
    }
    fs::remove_dir_all(directory).unwrap();
}

#[test]
fn files_that_cannot_be_used_are_named_with_a_remedy() {
    let directory = pems::scratch("files of servers");
    let blank = directory.join("blank.pem");
    fs::write(&blank, " \n\n").unwrap();
    let cut = directory.join("cut.pem");
    let whole = fs::read(pem("leaf.crt")).unwrap();
    fs::write(&cut, &whole[..whole.len() / 2]).unwrap();
    let cut_key = directory.join("cut.key");
    let whole = fs::read(pem("leaf.key")).unwrap();
    fs::write(&cut_key, &whole[..whole.len() / 2]).unwrap();
    let large = directory.join("large.pem");
    fs::File::create(&large).unwrap().set_len(MAX_FILE + 1).unwrap();
    let nowhere = directory.join("nowhere.pem");
    let (crt, key) = (certify(&directory, "leaf.key"), pem("leaf.key"));
    // certificate, key, what is wrong, the remedy
    let rows = [
        (&nowhere, &key, "TLS_CERT_FILE", "does not exist", "mount the file"),
        (&directory, &key, "TLS_CERT_FILE", "not a regular file", "PEM file"),
        (&blank, &key, "TLS_CERT_FILE", "is empty", "PEM file"),
        (&large, &key, "TLS_CERT_FILE", "is larger than 1 MiB", "PEM file"),
        (&cut, &key, "TLS_CERT_FILE", "cut off or damaged", "copy the file again"),
        (&key, &key, "TLS_CERT_FILE", "holds no certificate", "BEGIN CERTIFICATE"),
        (&pem("certificate.der"), &key, "TLS_CERT_FILE", "holds no certificate", "openssl x509 -inform DER"),
        (&pem("pfx.pfx"), &key, "TLS_CERT_FILE", "holds no certificate", "openssl pkcs12"),
        (&crt, &nowhere, "TLS_KEY_FILE", "does not exist", "mount the file"),
        (&crt, &blank, "TLS_KEY_FILE", "is empty", "PEM file"),
        (&crt, &cut_key, "TLS_KEY_FILE", "cut off or damaged", "copy the file again"),
        (&crt, &crt, "TLS_KEY_FILE", "holds no private key", "BEGIN PRIVATE KEY"),
        (&crt, &pem("public-key.pem"), "TLS_KEY_FILE", "holds no private key", "BEGIN PRIVATE KEY"),
        (&crt, &pem("pfx.pfx"), "TLS_KEY_FILE", "holds no private key", "openssl pkcs12"),
        (&crt, &pem("encrypted.pem"), "TLS_KEY_FILE", "holds an encrypted private key", "openssl pkey -in"),
        (&crt, &pem("dek-info.pem"), "TLS_KEY_FILE", "holds an encrypted private key", "openssl pkey -in"),
        (&crt, &pem("weak.key"), "TLS_KEY_FILE", "cannot be used", "RSA of 2048 to 4096"),
        (&crt, &pem("other.key"), "TLS_KEY_FILE", "is not the key of the first certificate", "comes first"),
        (&pem("chain-of-three.crt"), &key, "TLS_KEY_FILE", "is not the key of the first", "comes first"),
    ];
    let version_1 =
        [(&pem("leaf.crt"), &key, "the first certificate in TLS_CERT_FILE", "cannot be used", "version 3")];
    for (certificate, key, variable, wrong, remedy) in rows.into_iter().chain(version_1) {
        let problem = TlsAcceptor::open(&files(certificate.clone(), key.clone())).unwrap_err();
        assert!(problem.message.starts_with(variable), "{problem}");
        assert!(problem.message.contains(wrong), "{problem}");
        assert!(problem.hints.join(" ").contains(remedy), "{problem}");
    }
    for (ca, wrong) in [
        (&nowhere, "does not exist"),
        (&blank, "is empty"),
        (&key, "holds no usable certificate"),
        (&cut, "cut off or damaged"),
    ] {
        let files = TlsFiles { client_ca: Some(ca.clone()), ..files(crt.clone(), key.clone()) };
        let problem = TlsAcceptor::open(&files).unwrap_err();
        assert!(
            problem.message.starts_with("TLS_CLIENT_CA_FILE") && problem.message.contains(wrong),
            "{problem}"
        );
    }
    fs::remove_dir_all(directory).unwrap();
}

#[test]
fn a_replaced_pair_is_for_new_connections_and_half_of_one_for_none() {
    let directory = pems::scratch("pair that is renewed");
    let (certificate, key) = (directory.join("tls.crt"), directory.join("tls.key"));
    let put = |from: &Path, to: &Path| {
        let beside = directory.join("new");
        fs::copy(from, &beside).unwrap();
        fs::rename(&beside, to).unwrap();
    };
    let (old, new) = (certify(&directory, "leaf.key"), certify(&directory, "ec.key"));
    put(&old, &certificate);
    put(&pem("leaf.key"), &key);
    let acceptor = TlsAcceptor::open(&files(certificate.clone(), key.clone())).unwrap();
    let look = || {
        lock(&acceptor.seen).looked_at = Instant::now().checked_sub(LOOK_EVERY).unwrap();
        acceptor.reload_if_changed();
    };
    let problem = || {
        let problem = lock(&acceptor.seen).problem.clone().map(|(message, _)| message);
        assert_eq!(acceptor.is_reload_failing(), problem.is_some());
        problem
    };
    let shows = |one: &Path| connect(&acceptor, &Arc::new(client_config(one, &[&TLS13]))).is_ok();
    let config = Arc::new(client_config(&old, &[&TLS13]));
    let (mut established, mut client) = connect(&acceptor, &config).unwrap();
    let resumes = |config: &Arc<ClientConfig>| {
        connect(&acceptor, config)
            .map(|(_, client)| client.conn.handshake_kind() == Some(HandshakeKind::Resumed))
    };
    assert!(resumes(&config).unwrap(), "sessions are resumed");

    put(&new, &certificate);
    acceptor.reload_if_changed();
    assert!(shows(&old), "they were looked at a moment ago");
    look();
    assert!(problem().unwrap().contains("is not the key of the first certificate"));
    assert!(shows(&old) && !shows(&new), "half of a pair is not used");
    put(&pem("ec.key"), &key);
    look();
    assert_eq!(problem(), None);
    assert!(shows(&new) && !shows(&old));
    assert!(resumes(&config).is_err(), "no session of the old certificate is resumed");

    fs::remove_file(&key).unwrap();
    look();
    assert!(problem().unwrap().contains("does not exist"));
    put(&pem("ec.key"), &key);
    look();
    assert_eq!(problem(), None, "a later fault is logged again");
    let before = Arc::clone(&lock(&acceptor.current).config);
    look();
    assert!(Arc::ptr_eq(&before, &lock(&acceptor.current).config), "the same content is no change");

    client.write_all(b"ping").unwrap();
    ping(&mut established);
    pong(&mut established);
    client.read_exact(&mut [0; 4]).unwrap();
    fs::remove_dir_all(directory).unwrap();
}

#[test]
fn a_certificate_whose_dates_are_wrong_is_noticed_once_while_it_serves() {
    let directory = pems::scratch("dates");
    let acceptor = TlsAcceptor::open(&usual(&directory)).unwrap();
    let validity = acceptor.validity().unwrap();
    assert_eq!(validity.not_after_unix - validity.not_before_unix, 2 * 24 * 60 * 60);
    let until = Duration::from_secs(validity.not_after_unix);
    let second = Duration::from_secs(1);
    let mut seen = lock(&acceptor.seen);
    for (now, logged) in [
        (Duration::from_secs(validity.not_before_unix) - second, Some(DateProblem::NotYetValid)),
        (Duration::from_secs(validity.not_before_unix), None),
        (until - Duration::from_secs(2 * 24 * 360), None),
        (until - Duration::from_secs(2 * 24 * 360 - 1), Some(DateProblem::ExpiresSoon)),
        (until, None),
        (until + second, Some(DateProblem::Expired)),
    ] {
        assert_eq!(acceptor.look_at_dates(&mut seen, now), logged, "{now:?}");
        assert_eq!(acceptor.look_at_dates(&mut seen, now), None, "once");
    }
    drop(seen);
    let year = 365 * 24 * 60 * 60;
    let of_ten_years = Validity { not_before_unix: 0, not_after_unix: 10 * year };
    let month = year - 335 * 24 * 60 * 60;
    for (left, problem) in [(month, None), (month - 1, Some(DateProblem::ExpiresSoon))] {
        assert_eq!(of_ten_years.problem(10 * year - left), problem);
    }
    fs::remove_dir_all(directory).unwrap();
}

#[test]
fn files_that_cannot_be_used_are_logged_again_after_an_hour() {
    let directory = pems::scratch("reminder");
    let acceptor = TlsAcceptor::open(&usual(&directory)).unwrap();
    let mut seen = lock(&acceptor.seen);
    let report = |seen: &mut Seen, message: &str| {
        seen.report(Problem::new(message));
        seen.problem.as_ref().unwrap().1
    };
    let first = report(&mut seen, "it is empty");
    assert_eq!(report(&mut seen, "it is empty"), first, "logged a moment ago");
    assert!(report(&mut seen, "it does not exist") > first, "something else");
    let long_ago = Instant::now().checked_sub(REMIND_EVERY).unwrap();
    seen.problem.as_mut().unwrap().1 = long_ago;
    assert!(report(&mut seen, "it does not exist") > first);
    drop(seen);
    fs::remove_dir_all(directory).unwrap();
}
