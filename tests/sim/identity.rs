//! The endpoints that give a managed identity's tokens: IMDS, App Service, Azure Arc. They check what the real ones check, and
//! keep a token until half of its life is over, as the real ones do for longer.

use std::collections::HashMap;
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::clock;
use super::exchange::{Exchange, hex};
use super::record::{Log, Request, latin1};
use super::script::{Script, ScriptedResponse};
use super::server::Server;
use super::tokens::{self, Tokens};

/// What IMDS has tokens for.
const RESOURCES: [&str; 5] = [
    "https://cognitiveservices.azure.com",
    "https://cognitiveservices.azure.us",
    "https://ai.azure.com",
    "https://ai.azure.us",
    "api://AzureADTokenExchange",
];

/// A user-assigned identity.
#[derive(Clone, Debug)]
pub struct Assigned {
    pub client_id: String,
    pub object_id: String,
    pub resource_id: String,
}

impl Assigned {
    /// One whose ids end in this digit.
    pub fn number(digit: u8) -> Self {
        Self {
            client_id: format!("aaaaaaaa-2222-4333-8444-55555555555{digit}"),
            object_id: format!("bbbbbbbb-2222-4333-8444-55555555555{digit}"),
            resource_id: format!(
                "/subscriptions/s/resourceGroups/g/providers/Microsoft.ManagedIdentity/userAssignedIdentities/id{digit}"
            ),
        }
    }
}

/// What the machine has.
#[derive(Clone, Debug)]
pub struct IdentityOptions {
    pub system_assigned: bool,
    pub user_assigned: Vec<Assigned>,
    pub token_lifetime: u64,
    /// Where Azure Arc's agent puts its keys.
    pub arc_keys: PathBuf,
    /// An agent of Azure Arc that knows user-assigned identities.
    pub arc_knows_user_assigned: bool,
    /// Where it listens.
    pub address: SocketAddr,
}

impl Default for IdentityOptions {
    fn default() -> Self {
        Self {
            system_assigned: true,
            user_assigned: Vec::new(),
            token_lifetime: 86_400,
            arc_keys: PathBuf::from("/var/opt/azcmagent/tokens"),
            arc_knows_user_assigned: false,
            address: SocketAddr::from(([127, 0, 0, 1], 0)),
        }
    }
}

/// The running endpoints, on one port.
pub struct IdentityEndpoints {
    pub server: Server,
    shared: Arc<Endpoints>,
}

struct Endpoints {
    log: Arc<Log>,
    script: Script,
    tokens: Arc<Tokens>,
    header: String,
    options: Mutex<IdentityOptions>,
    cached: Mutex<HashMap<(String, String), CachedToken>>,
    arc_key: Mutex<Option<(PathBuf, String)>>,
}

#[derive(Clone)]
struct CachedToken {
    token: String,
    issued: Instant,
    lifetime: u64,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum IdentityService {
    Imds,
    AppService,
    Arc,
}

impl IdentityEndpoints {
    pub(super) fn start(tokens: Arc<Tokens>, options: IdentityOptions) -> Self {
        let log = Arc::new(Log::new(None));
        let address = options.address;
        let shared = Arc::new(Endpoints {
            log: log.clone(),
            script: Script::default(),
            tokens,
            header: hex(&tokens::random::<16>()),
            options: Mutex::new(options),
            cached: Mutex::default(),
            arc_key: Mutex::default(),
        });
        let handler = shared.clone();
        let server = Server::start_at(address, None, log, Arc::new(move |exchange| handler.handle(exchange)));
        Self { server, shared }
    }

    /// The variables of a virtual machine, with IMDS at another address.
    pub fn imds_env(&self) -> Vec<(&'static str, String)> {
        vec![("AZURE_POD_IDENTITY_AUTHORITY_HOST", self.origin())]
    }

    /// The variables that App Service sets.
    pub fn app_service_env(&self) -> Vec<(&'static str, String)> {
        vec![
            ("IDENTITY_ENDPOINT", format!("{}/msi/token", self.origin())),
            ("IDENTITY_HEADER", self.shared.header.clone()),
        ]
    }

    /// The variables that Azure Arc sets.
    pub fn arc_env(&self) -> Vec<(&'static str, String)> {
        vec![
            ("IDENTITY_ENDPOINT", format!("{}/metadata/identity/oauth2/token", self.origin())),
            ("IMDS_ENDPOINT", self.origin()),
        ]
    }

    pub fn origin(&self) -> String {
        format!("http://127.0.0.1:{}", self.server.port())
    }

    /// Prescribes the next responses.
    pub fn script(&self, responses: impl IntoIterator<Item = ScriptedResponse>) {
        self.shared.script.extend(responses);
    }

    /// Every request so far.
    pub fn requests(&self) -> Vec<Request> {
        self.shared.log.requests()
    }

    /// Changes what the machine has.
    pub fn change(&self, change: impl FnOnce(&mut IdentityOptions)) {
        change(&mut self.shared.options.lock().unwrap());
    }
}

impl Endpoints {
    fn handle(&self, exchange: &mut Exchange<'_>) -> io::Result<()> {
        if self.script.next("identity").play(exchange)?.is_none() {
            return Ok(());
        }
        exchange.read_body(1 << 10)?;
        let target = latin1(&exchange.head.target);
        let (path, query) = target.split_once('?').unwrap_or((&target, ""));
        let query: Vec<(String, String)> = super::form::pairs(query.as_bytes());
        let parameter = |name: &str| query.iter().find(|(n, _)| n == name).map(|(_, value)| value.as_str());
        // msal-node asks with a slash at the end, and the real IMDS does not mind.
        let service = match (path.trim_end_matches('/'), parameter("api-version")) {
            ("/metadata/identity/oauth2/token", Some("2018-02-01")) => IdentityService::Imds,
            ("/metadata/identity/oauth2/token", Some("2020-06-01" | "2019-11-01")) => IdentityService::Arc,
            ("/msi/token", Some("2019-08-01")) => IdentityService::AppService,
            _ => return exchange.json(404, &[], &json!({"error": "not_found", "error_description": path})),
        };
        if exchange.head.method != "GET" {
            return exchange.json(405, &[], &json!({"error": "method_not_allowed"}));
        }
        if service != IdentityService::AppService
            && !exchange.head.value("metadata").eq_ignore_ascii_case("true")
        {
            return refuse(
                exchange,
                service,
                400,
                "bad_request_102",
                "Required metadata header not specified",
            );
        }
        if service == IdentityService::AppService && exchange.head.value("x-identity-header") != self.header {
            return refuse(exchange, service, 403, "", "The identity header is not valid");
        }
        if service == IdentityService::Arc && !self.arc_key_was_shown(exchange)? {
            return Ok(());
        }
        let resource = parameter("resource").unwrap_or_default();
        if !RESOURCES.contains(&resource) {
            let text =
                format!("AADSTS500011: The resource principal named {resource} was not found in the tenant.");
            let status = if service == IdentityService::AppService { 500 } else { 400 };
            return refuse(exchange, service, status, "invalid_resource", &text);
        }
        let options = self.options.lock().unwrap().clone();
        let names = match service {
            IdentityService::AppService => ["client_id", "principal_id", "mi_res_id"],
            IdentityService::Imds | IdentityService::Arc => ["client_id", "object_id", "msi_res_id"],
        };
        let wanted = names.into_iter().find_map(|name| Some((name, parameter(name)?)));
        let wanted = wanted.filter(|_| service != IdentityService::Arc || options.arc_knows_user_assigned);
        let identity = match wanted {
            Some((name, id)) => {
                let found = options.user_assigned.iter().find(|assigned| {
                    let own = match name {
                        "client_id" => &assigned.client_id,
                        "object_id" | "principal_id" => &assigned.object_id,
                        _ => &assigned.resource_id,
                    };
                    own.eq_ignore_ascii_case(id)
                });
                match (found, service) {
                    (Some(found), _) => found.client_id.clone(),
                    (None, IdentityService::AppService) => {
                        let text = "No User Assigned or Delegated Managed Identity found for specified ClientId/ResourceId/PrincipalId.";
                        return refuse(exchange, service, 400, "", text);
                    }
                    (None, _) => {
                        return refuse(exchange, service, 400, "invalid_request", "Identity not found");
                    }
                }
            }
            None if options.system_assigned => "system".to_owned(),
            None => match &options.user_assigned[..] {
                [] => return refuse(exchange, service, 400, "invalid_request", "Identity not found"),
                [one] => one.client_id.clone(),
                _ => {
                    let text = "Multiple user assigned identities exist, please specify the clientId / resourceId of the identity in the token request";
                    return refuse(exchange, service, 400, "invalid_request", text);
                }
            },
        };
        let cached = self.token(&identity, resource, options.token_lifetime);
        let left = cached.lifetime.saturating_sub(cached.issued.elapsed().as_secs());
        let expires_on = clock::unix() + i64::try_from(left).unwrap();
        let mut body = json!({
            "access_token": cached.token, "expires_on": expires_on.to_string(), "resource": resource, "token_type": "Bearer",
        });
        match service {
            IdentityService::AppService => body["client_id"] = json!(identity),
            _ => {
                body["refresh_token"] = json!("");
                body["expires_in"] = json!(left.to_string());
                body["not_before"] = json!((clock::unix() - 300).to_string());
            }
        }
        if let Some((name, id)) = wanted.filter(|_| service == IdentityService::Arc) {
            body[name] = json!(id.to_uppercase());
        }
        exchange.note(&format!("token issued to {identity}"));
        exchange.json(200, &[("Server", server_name(service))], &body)
    }

    /// The same token until half of its life is over.
    fn token(&self, identity: &str, resource: &str, lifetime: u64) -> CachedToken {
        let mut all = self.cached.lock().unwrap();
        let key = (identity.to_owned(), resource.to_owned());
        if let Some(cached) = all
            .get(&key)
            .filter(|cached| cached.issued.elapsed().as_secs_f64() < cached.lifetime as f64 / 2.0 - 1.0)
        {
            return cached.clone();
        }
        let life = Duration::from_secs(lifetime);
        let token = self.tokens.issue(None, &format!("{resource}/.default"), identity, life);
        let cached = CachedToken { token, issued: Instant::now(), lifetime };
        all.insert(key, cached.clone());
        cached
    }

    /// Azure Arc: a request without the content of the file that the challenge before named gets another challenge.
    fn arc_key_was_shown(&self, exchange: &mut Exchange<'_>) -> io::Result<bool> {
        let shown = exchange.head.value("authorization").to_owned();
        if let Some((file, key)) = self.arc_key.lock().unwrap().take() {
            let _ = std::fs::remove_file(file);
            if shown == format!("Basic {key}") {
                return Ok(true);
            }
        }
        let key = hex(&tokens::random::<32>());
        let file = self.options.lock().unwrap().arc_keys.join(format!("{}.key", tokens::uuid()));
        std::fs::write(&file, &key)?;
        let challenge = format!("Basic realm={}", file.display());
        *self.arc_key.lock().unwrap() = Some((file, key));
        exchange.note("challenge");
        exchange.json(401, &[("WWW-Authenticate", &challenge)], &json!({"error": "unauthorized"}))?;
        Ok(false)
    }
}

impl Drop for Endpoints {
    fn drop(&mut self) {
        if let Some((file, _)) = self.arc_key.lock().unwrap().take() {
            let _ = std::fs::remove_file(file);
        }
    }
}

fn server_name(service: IdentityService) -> &'static str {
    match service {
        IdentityService::Imds => "IMDS/150.870.65.1854",
        IdentityService::AppService => "Kestrel",
        IdentityService::Arc => "himds",
    }
}

fn refuse(
    exchange: &mut Exchange<'_>,
    service: IdentityService,
    status: u16,
    error: &str,
    text: &str,
) -> io::Result<()> {
    exchange.note(text);
    let body: Value = match service {
        IdentityService::AppService => json!({"statusCode": status, "message": text}),
        _ => json!({"error": error, "error_description": text}),
    };
    exchange.json(status, &[("Server", server_name(service))], &body)
}
