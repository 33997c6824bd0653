//! The table of settings, from which `--help` is printed and against which docs/settings.md is tested.

#[derive(Debug, Clone, Copy)]
pub struct Setting {
    pub name: &'static str,
    /// The default as people read it: a value, `required` or `unset`.
    pub default: &'static str,
    /// What it means, one line.
    pub meaning: &'static str,
}

const fn setting(name: &'static str, default: &'static str, meaning: &'static str) -> Setting {
    Setting { name, default, meaning }
}

/// Every variable that the program reads. An empty value means unset.
pub const SETTINGS: &[Setting] = &[
    setting("AZURE_CLIENT_ID", "required", "application (client) ID of the app registration, a GUID"),
    setting("AZURE_TENANT_ID", "required", "directory (tenant) ID, a GUID or a domain"),
    setting(
        "AZURE_CERTIFICATE_PATH",
        "required",
        "certificate and private key: a PEM or PFX file, or a directory with tls.crt and tls.key",
    ),
    setting("AZURE_CLIENT_CERTIFICATE_PATH", "unset", "another name for AZURE_CERTIFICATE_PATH"),
    setting("AZURE_CLIENT_CERTIFICATE_PASSWORD", "unset", "opens a PFX or an encrypted private key"),
    setting("AZURE_CERTIFICATE_PASSWORD", "unset", "another name for AZURE_CLIENT_CERTIFICATE_PASSWORD"),
    setting(
        "AZURE_FEDERATED_TOKEN_FILE",
        "unset",
        "workload identity: the assertion when there is no certificate",
    ),
    setting(
        "AZURE_TOKEN_CREDENTIALS",
        "what is configured",
        "EnvironmentCredential (certificate), WorkloadIdentityCredential, ManagedIdentityCredential, or prod",
    ),
    setting(
        "AZURE_MANAGED_IDENTITY_CLIENT_ID",
        "unset",
        "a managed identity that signs in for the application AZURE_CLIENT_ID",
    ),
    setting("AZURE_MANAGED_IDENTITY_OBJECT_ID", "unset", "the same identity by its object (principal) id"),
    setting("AZURE_MANAGED_IDENTITY_RESOURCE_ID", "unset", "the same identity by its resource id"),
    setting(
        "AZURE_POD_IDENTITY_AUTHORITY_HOST",
        "http://169.254.169.254",
        "where IMDS is, which gives a managed identity's tokens",
    ),
    setting(
        "IDENTITY_ENDPOINT",
        "set by Azure",
        "managed identity of App Service, Container Apps, Azure Arc",
    ),
    setting(
        "IDENTITY_HEADER",
        "set by Azure",
        "goes with IDENTITY_ENDPOINT on App Service and Container Apps",
    ),
    setting("IMDS_ENDPOINT", "set by Azure", "goes with IDENTITY_ENDPOINT on Azure Arc"),
    setting(
        "AZURE_KUBERNETES_TOKEN_PROXY",
        "set by AKS",
        "identity bindings: where token requests go in place of the authority",
    ),
    setting("AZURE_KUBERNETES_CA_FILE", "set by AKS", "PEM file with the CA of that proxy"),
    setting("AZURE_KUBERNETES_CA_DATA", "set by AKS", "the same as PEM text"),
    setting("AZURE_KUBERNETES_SNI_NAME", "set by AKS", "the TLS server name of that proxy"),
    setting(
        "AZURE_CLIENT_SEND_CERTIFICATE_CHAIN",
        "false",
        "send the certificate chain (x5c) with the assertion",
    ),
    setting(
        "AZURE_ASSERTION_ALGORITHM",
        "PS256",
        "PS256, or RS256 with the SHA-1 thumbprint for older authorities",
    ),
    setting(
        "AZURE_AUTHORITY_HOST",
        "login.microsoftonline.com",
        "where to sign in: sovereign and private clouds",
    ),
    setting(
        "AZURE_SCOPE",
        "from API_BASE_URL",
        "what the token is for, such as https://cognitiveservices.azure.com/.default",
    ),
    setting(
        "API_BASE_URL",
        "required",
        "the upstream's base URL, such as https://NAME.openai.azure.com; may have a path",
    ),
    setting(
        "ALLOW_INSECURE_UPSTREAM",
        "false",
        "allow http beyond loopback: the token crosses the network in clear",
    ),
    setting("REWRITE_LOCATION", "false", "Location and Operation-Location lead back through the proxy"),
    setting("HOST", "0.0.0.0", "where to listen: IPv4, IPv6, a name, or unix:/PATH for a Unix socket"),
    setting("PORT", "8080", "where to listen; 0 takes a free port and logs it"),
    setting("ADMIN_PORT", "unset", "a second port for probes, /metrics, /config and a status page"),
    setting(
        "ADMIN_HOST",
        "as HOST",
        "where ADMIN_PORT listens: probes and metrics come from outside the pod",
    ),
    setting("TLS_CERT_FILE", "unset", "serve HTTPS: PEM file with the certificate, then its intermediates"),
    setting("TLS_KEY_FILE", "unset", "PEM file with the private key of that certificate, not encrypted"),
    setting(
        "TLS_CLIENT_CA_FILE",
        "unset",
        "PEM file of CAs: clients must present a certificate that one of them has issued",
    ),
    setting("PROXY_API_KEY", "unset", "a key that callers must present; 16 characters or more"),
    setting("ALLOWED_ORIGINS", "unset", "origins of web pages that may call, such as http://localhost:3000"),
    setting("ALLOWED_HOSTS", "unset", "host names besides localhost by which auth-proxy is called"),
    setting(
        "ALLOWED_REQUESTS",
        "everything",
        "what may be requested, such as POST /openai/v1/*, GET /openai/v1/models; the rest gets 403",
    ),
    setting(
        "PROXY_API_KEYS_FILE",
        "unset",
        "callers by name: lines of `name sha256-of-the-key`; read again when it changes",
    ),
    setting("SSL_CERT_FILE", "unset", "PEM bundle of roots instead of the built-in Mozilla ones"),
    setting("HTTPS_PROXY", "unset", "egress proxy, http://[user:password@]host[:port]; default port 80"),
    setting("NO_PROXY", "unset", "hosts, domains, addresses or CIDRs that bypass HTTPS_PROXY, or *"),
    setting("LOG_LEVEL", "info", "error, warn, info or debug"),
    setting("LOG_FORMAT", "text", "text, or json for collectors"),
    setting("MAX_CONNECTIONS", "1024", "connections served at a time, 1 to 65536; above it: 503"),
    setting("CONNECT_TIMEOUT", "10s", "to resolve, connect and finish the TLS handshake"),
    setting("READ_IDLE_TIMEOUT", "600s", "how long to wait for data from the upstream before responding 504"),
    setting("SHUTDOWN_GRACE", "25s", "how long requests in flight may go on after SIGTERM"),
];
