//! `traceql trace`: one trace, as a waterfall, as Tempo's answer or as OTLP.

use traceql_blocks::write::otlp;
use traceql_server::api::json;

use super::{Asking, split, whole};
use crate::Success;
use crate::args::{TraceArgs, TraceFormat};
use crate::error::Result;
use crate::output::waterfall::Waterfall;
use crate::settings::{self, World};

pub(crate) fn run(world: &World, args: &TraceArgs) -> Result<Success> {
    let id = settings::trace_id(&args.id)?;
    let asking = Asking::new(world, &args.source, &args.time, &args.run)?;
    let options = asking.options.clone();
    let ended = asking.ask(move |session| async move {
        Ok(session.engine.trace(&session.source, &session.tenants, id, &options).await?)
    });
    let (mut trace, told) = split(whole(ended)?);
    let format = world.trace_output(args.output);
    // As OTLP a trace comes as it is stored, to be sent on; otherwise as the API shows it.
    let is_shown = !matches!(format, TraceFormat::Otlp | TraceFormat::OtlpProto);
    if let (Some(trace), true) = (&mut trace, is_shown) {
        trace.separate_shared_ids();
    }
    world.print(|out| match (&trace, format) {
        (trace, TraceFormat::Json) => {
            let partial = told.partial.as_deref();
            writeln!(out, "{}", json::trace_v2_response(trace.as_ref(), &told.stats, partial))
        }
        (None, _) => Ok(()),
        (Some(trace), TraceFormat::Auto | TraceFormat::Waterfall) => {
            let terminal = &world.terminal;
            let width = usize::from(args.width.unwrap_or(terminal.width));
            Waterfall { width, attributes: args.attributes, paint: terminal.stdout }
                .write(out, trace)
        }
        (Some(trace), TraceFormat::Otlp) => {
            writeln!(out, "{}", otlp::to_otlp_json(std::slice::from_ref(trace)))
        }
        (Some(trace), TraceFormat::OtlpProto) => {
            out.write_all(&otlp::to_protobuf(std::slice::from_ref(trace)))
        }
    })?;
    asking.finish(&told, trace.is_none(), &format!("no trace {id}"))
}
