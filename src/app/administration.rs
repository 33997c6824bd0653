//! The listener on `ADMIN_PORT`: always on the built-in server, whatever serves `PORT`.

use std::net::SocketAddr;
use std::sync::Arc;

use super::{StartFault, listen, system};
use crate::config::Config;
use crate::log;
use crate::ops::admin::{self, Admin};
use crate::server::{Listener, Stop};

/// The bound listener, which answers nobody yet.
pub(super) struct Administration(Listener);

impl Administration {
    /// Binds when `ADMIN_PORT` is set.
    pub(super) fn bind(config: &Config) -> Result<Option<Self>, StartFault> {
        let host = ("ADMIN_HOST", config.admin_host.as_str());
        let bound = config.admin_port.map(|port| listen::bind(host, ("ADMIN_PORT", port), Listener::bind));
        Ok(bound.transpose()?.map(Self))
    }

    /// Starts to answer. It hears of no stop: probes are answered until the process ends.
    pub(super) fn serve(self, admin: Admin) -> Result<Vec<SocketAddr>, StartFault> {
        let addresses = self.0.addresses().map_err(|error| system("the administration address", &error))?;
        let never = Arc::new(Stop::new().map_err(|error| system("a pipe", &error))?);
        self.0
            .serve(Arc::new(admin), admin::limits(), never)
            .map_err(|error| system("the administration thread", &error))?;
        for address in &addresses {
            log::info("listening for administration", &[("address", address)]);
        }
        Ok(addresses)
    }
}
