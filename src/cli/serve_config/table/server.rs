//! Settings of the process: roles, addresses, how it ends, what it says of requests.

use super::super::setting::{Sets, Setting};
use super::super::value::Form;
use crate::role_args::Role;

pub(super) const SETTINGS: &[Setting] = &[
    Setting::argument("roles", "roles", Form::Choices(&["ingest", "query", "compact"]), &[]),
    Setting::argument("multitenancy_enabled", "multitenant", Form::Flag, &["false"])
        .also(&["auth_enabled"]),
    Setting::argument("tenant", "tenant", Form::Text, &[]),
    Setting::argument("dialect", "dialect", Form::Choice(&["default", "tempo"]), &["default"])
        .role(Role::Query),
    Setting::argument("shutdown_delay", "shutdown_delay", Form::DurationOrNone, &["0"]),
    Setting::alone(
        "server.http_listen_address",
        Form::Host,
        &["127.0.0.1"],
        Sets::Host("listen"),
        "Host of --listen",
    ),
    Setting::alone(
        "server.http_listen_port",
        Form::Port,
        &["3200"],
        Sets::Port("listen"),
        "Port of --listen; 0 takes any free one",
    ),
    Setting::alone(
        "server.grpc_listen_address",
        Form::Host,
        &[],
        Sets::Host("grpc_listen"),
        "Host of --grpc-listen [default: 127.0.0.1, if the port is given]",
    )
    .role(Role::Query),
    Setting::alone(
        "server.grpc_listen_port",
        Form::Port,
        &[],
        Sets::Port("grpc_listen"),
        "Port of --grpc-listen [default: 9095, if the host is given]",
    )
    .role(Role::Query),
    Setting::argument("server.http_server_read_timeout", "read_timeout", Form::Duration, &["30s"]),
    Setting::argument("server.http_server_idle_timeout", "idle_timeout", Form::Duration, &["2m"]),
    Setting::argument(
        "server.graceful_shutdown_timeout",
        "shutdown_timeout",
        Form::Duration,
        &["10s"],
    ),
    Setting::argument(
        "server.log_requests",
        "log_requests",
        Form::Choice(&["off", "slow", "all"]),
        &["off"],
    ),
    Setting::argument("server.slow_request", "slow_request", Form::Duration, &["10s"]),
];
