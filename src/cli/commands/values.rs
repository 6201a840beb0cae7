//! `traceql values`: the distinct values of one field.

use traceql_engine::tags::TagValuesRequest;
use traceql_language::Dialect;
use traceql_language::ir::{Field, FieldExpr, SpansetExpr, Stage};
use traceql_server::api::json;

use super::{Asking, filter, split, whole};
use crate::Success;
use crate::args::{OutputFormat, ValuesArgs};
use crate::error::{Error, Result};
use crate::output::sheet::{Cell, Column, Sheet};
use crate::settings::World;

pub(crate) fn run(world: &World, args: &ValuesArgs) -> Result<Success> {
    let format = world.output(args.output.output);
    let field = field(&args.field, world.dialect)?;
    let filter = filter(world, args.query.as_deref())?;
    let asking = Asking::new(world, &args.source, &args.time, &args.run)?;
    let options = asking.options.clone();
    let request = TagValuesRequest { field, filter, limit: args.limit };
    let ended = asking.ask(move |session| async move {
        let (source, tenants) = (&session.source, &session.tenants);
        Ok(session.engine.tag_values(source, tenants, &request, &options).await?)
    });
    let (values, told) = split(whole(ended)?);
    world.print(|out| match format {
        OutputFormat::Json => {
            writeln!(out, "{}", json::tag_values_v2_response(&values, Some(&told.stats)))
        }
        format => {
            let columns = vec![Column::text("Type", "type"), Column::text("Value", "value")];
            let cells = values.iter().map(|v| vec![Cell::text(v.value_type), Cell::text(&v.value)]);
            Sheet { columns, rows: cells.collect() }.write(out, format, &world.terminal)
        }
    })?;
    asking.finish(&told, values.is_empty(), &format!("no values of {}", args.field))
}

/// Reads a field by itself, with the language's own parser.
pub(crate) fn field(text: &str, dialect: Dialect) -> Result<Field> {
    let refuse = || {
        Error::usage(format!("{text:?} is no field"))
            .hint("write an attribute with its scope (resource.service.name, span.x, .x) or an intrinsic (name, status)")
    };
    // `x != nil` is a condition for every field, whatever its type.
    let query = traceql_language::compile(&format!("{{ {text} != nil }}"), dialect)
        .or_else(|_| traceql_language::compile(&format!("{{ }} | select({text})"), dialect))
        .map_err(|_| refuse())?;
    match query.pipeline.stages.last() {
        Some(Stage::Spanset(SpansetExpr::Filter(FieldExpr::Exists(operand)))) => match &**operand {
            FieldExpr::Field(field) => Ok(field.clone()),
            _ => Err(refuse()),
        },
        Some(Stage::Select(fields)) if fields.len() == 1 => Ok(fields[0].clone()),
        _ => Err(refuse()),
    }
}
