//! The arguments of `traceql config` as clap sees them; see [`crate::args`].

use clap::Args;

use crate::args::OutputArgs;

/// What follows the long help of `config`: how the file looks.
pub(crate) const CONFIG_HELP: &str = "\
The file is ~/.config/traceql/config.toml, or what --config or TRACEQL_CONFIG names:
  profile = \"dev\"                  # taken without --profile and TRACEQL_PROFILE
  color = \"never\"                  # for all profiles
  [profiles.dev]
  source = \"sample:\"
  [profiles.prod]
  source = \"s3://traces/tempo\"
  tenant = [\"web\", \"mobile\"]
  s3_profile = \"readonly\"          # of ~/.aws
  timeout = \"1m\"

A key is a long option with _ for -: source, tenant, dialect, output, limit, timeout, memory,
threads, color, request_timeout, s3_endpoint, s3_region, s3_profile, s3_virtual_hosted,
gcs_service_account, azure_account, azure_endpoint, unsigned, allow_http; and pager.
Secrets do not stand in the file: s3_access_key_id_env, s3_secret_access_key_env,
s3_session_token_env and azure_key_env name the variables of the environment that hold them.

Options come before the environment (TRACEQL_SOURCE, AWS_PROFILE, NO_COLOR …), that before the
profile, the profile before what holds for all. A tenant belongs to the source beside it: whoever
names another source names its tenant too. `output` counts where a command has such a form,
`limit` for searches; `test` and `lint` take no source from here.";

#[derive(Args, Debug)]
pub(crate) struct ConfigArgs {
    #[command(flatten)]
    pub(crate) output: OutputArgs,
}
