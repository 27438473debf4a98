//! What tokio-postgres is told for a server.

use std::net::IpAddr;
use std::time::Duration;

use tokio_postgres::Config;
use tokio_postgres::config::{ChannelBinding, SslNegotiation};

use super::hosts::Host;
use super::settings::{Settings, number};
use crate::exit::Failure;

/// All but the encryption.
pub(super) fn config(settings: &Settings, host: &Host, name: &str) -> Result<Config, Failure> {
    let params = &settings.params;
    let mut config = Config::new();
    config
        .user(&settings.user)
        .dbname(&settings.dbname)
        .port(host.port)
        .application_name(settings.application_name(name));
    if !host.name.is_empty() {
        config.host(&host.name);
    }
    if let Some(address) = &host.hostaddr {
        let address: IpAddr = address
            .parse()
            .map_err(|_| Failure::usage("the connection option `hostaddr` is no address"))?;
        config.hostaddr(address);
    }
    if let Some(limit) = settings.connect_timeout {
        config.connect_timeout(limit);
    }
    if let Some(password) = settings.password(host) {
        config.password(password);
    }
    if let Some(options) = params.get("options") {
        config.options(options);
    }
    if let Some(on) = number::<i32>(params, "keepalives")? {
        config.keepalives(on != 0);
    }
    let seconds = |keyword| number(params, keyword).map(|s| s.map(Duration::from_secs));
    if let Some(idle) = seconds("keepalives_idle")? {
        config.keepalives_idle(idle);
    }
    if let Some(interval) = seconds("keepalives_interval")? {
        config.keepalives_interval(interval);
    }
    if let Some(count) = number(params, "keepalives_count")? {
        config.keepalives_retries(count);
    }
    if let Some(millis) = number(params, "tcp_user_timeout")? {
        config.tcp_user_timeout(Duration::from_millis(millis));
    }
    match params.get("channel_binding") {
        Some("require") => _ = config.channel_binding(ChannelBinding::Require),
        Some("disable") => _ = config.channel_binding(ChannelBinding::Disable),
        _ => {}
    }
    if params.get("sslnegotiation") == Some("direct") {
        config.ssl_negotiation(SslNegotiation::Direct);
    }
    Ok(config)
}
