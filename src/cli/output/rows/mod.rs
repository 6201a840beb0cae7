//! Record batches as text or as files, written while they come: nothing is held but what a form
//! needs by itself, a row group of Parquet at most. Knows nothing of where rows come from.

mod table;
mod target;

use std::io::{self, Write as _};

use arrow::array::RecordBatch;
use arrow::csv;
use arrow::datatypes::SchemaRef;
use arrow::error::ArrowError;
use arrow::ipc::writer::{FileWriter, StreamWriter};
use arrow::json::writer::{ArrayWriter, LineDelimitedWriter, WriterBuilder};
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_writer::ArrowWriterOptions;
use parquet::basic::{Compression, ZstdLevel};
use parquet::errors::ParquetError;
use parquet::file::properties::WriterProperties;

use self::table::{MarkdownWriter, TableWriter};
pub(crate) use self::target::Output;
use crate::error::{Error, Kind, Result};
use crate::sql_args::SqlFormat;
use crate::terminal::Terminal;

/// Rows of a row group of Parquet: it is held until it is complete.
const ROW_GROUP_ROWS: usize = 64 << 10;

/// Writes the rows of one statement.
pub(crate) struct RowsWriter {
    form: Form,
    /// Errors of the writers lose what the system said; it is kept here.
    output: Output,
    schema: SchemaRef,
    n_rows: u64,
}

/// A form with its writer.
enum Form {
    Table(TableWriter),
    Markdown(MarkdownWriter),
    Json(ArrayWriter<Output>),
    Ndjson(LineDelimitedWriter<Output>),
    Csv(Box<csv::Writer<Output>>),
    Parquet(Box<ArrowWriter<Output>>),
    ArrowStream(Box<StreamWriter<Output>>),
    ArrowFile(Box<FileWriter<Output>>),
}

impl RowsWriter {
    /// A writer of rows with this schema; `Auto` counts as a table.
    pub(crate) fn new(
        output: Output,
        format: SqlFormat,
        schema: &SchemaRef,
        terminal: &Terminal,
    ) -> Result<Self> {
        let out = output.clone();
        let json = WriterBuilder::new().with_explicit_nulls(true);
        let form = match format {
            SqlFormat::Auto | SqlFormat::Table => {
                Form::Table(TableWriter::new(schema, *terminal, Some(terminal.width)))
            }
            SqlFormat::Wide => Form::Table(TableWriter::new(schema, *terminal, None)),
            SqlFormat::Markdown => Form::Markdown(MarkdownWriter::new(schema)),
            SqlFormat::Json => Form::Json(json.build(out)),
            SqlFormat::Ndjson => Form::Ndjson(json.build(out)),
            SqlFormat::Csv => {
                Form::Csv(Box::new(csv::WriterBuilder::new().with_header(true).build(out)))
            }
            SqlFormat::Parquet => {
                let properties = WriterProperties::builder()
                    .set_compression(Compression::ZSTD(ZstdLevel::default()))
                    .set_max_row_group_row_count(Some(ROW_GROUP_ROWS))
                    .build();
                let options = ArrowWriterOptions::new().with_properties(properties);
                let schema = SchemaRef::clone(schema);
                let writer = ArrowWriter::try_new_with_options(out, schema, options)
                    .map_err(|error| output.blame_parquet(&error))?;
                Form::Parquet(Box::new(writer))
            }
            SqlFormat::Arrow if output.is_seekable_file() => {
                let writer = FileWriter::try_new(out, schema);
                Form::ArrowFile(Box::new(writer.map_err(|error| output.blame(&error))?))
            }
            SqlFormat::Arrow => {
                let writer = StreamWriter::try_new(out, schema);
                Form::ArrowStream(Box::new(writer.map_err(|error| output.blame(&error))?))
            }
        };
        Ok(Self { form, output, schema: SchemaRef::clone(schema), n_rows: 0 })
    }

    /// Writes some rows and shows them at once.
    pub(crate) fn write(&mut self, batch: &RecordBatch) -> Result<()> {
        self.n_rows += batch.num_rows() as u64;
        let output = &self.output;
        match &mut self.form {
            Form::Table(writer) => writer.write(&mut output.clone(), batch),
            Form::Markdown(writer) => writer.write(&mut output.clone(), batch),
            Form::Json(writer) => writer.write(batch),
            Form::Ndjson(writer) => writer.write(batch),
            Form::Csv(writer) => writer.write(batch),
            Form::Parquet(writer) => {
                return writer.write(batch).map_err(|error| output.blame_parquet(&error));
            }
            Form::ArrowStream(writer) => writer.write(batch),
            Form::ArrowFile(writer) => writer.write(batch),
        }
        .and_then(|()| Ok(output.clone().flush()?))
        .map_err(|error| output.blame(&error))
    }

    /// Writes what belongs at the end, and puts a file in its place; a screen stays open. Returns the number of rows.
    pub(crate) fn finish(self) -> Result<u64> {
        let Self { form, output, schema, n_rows } = self;
        match form {
            Form::Table(writer) => writer.finish(&mut output.clone()),
            Form::Markdown(writer) => writer.finish(&mut output.clone()),
            Form::Json(mut writer) => writer.finish().and_then(|()| Ok(writeln!(output.clone())?)),
            Form::Ndjson(mut writer) => writer.finish(),
            // The header is written with the first rows: none are rows too.
            Form::Csv(mut writer) if n_rows == 0 => writer.write(&RecordBatch::new_empty(schema)),
            Form::Csv(_) => Ok(()),
            Form::Parquet(writer) => {
                writer.close().map_err(|error| output.blame_parquet(&error))?;
                Ok(())
            }
            Form::ArrowStream(mut writer) => writer.finish(),
            Form::ArrowFile(mut writer) => writer.finish(),
        }
        .map_err(|error| output.blame(&error))?;
        output.close()?;
        Ok(n_rows)
    }
}

impl Output {
    /// What went wrong: the system's word on the output, if it said any.
    fn blame(&self, error: &ArrowError) -> Error {
        match (self.failure(), error) {
            (Some(failure), _) => failure.into(),
            (None, ArrowError::IoError(_, error)) => {
                io::Error::new(error.kind(), error.to_string()).into()
            }
            (None, error) => Error::new(Kind::Failed, format!("cannot write the rows: {error}")),
        }
    }

    fn blame_parquet(&self, error: &ParquetError) -> Error {
        match self.failure() {
            Some(failure) => failure.into(),
            None => Error::new(Kind::Failed, format!("cannot write the rows: {error}")),
        }
    }
}
