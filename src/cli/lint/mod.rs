//! Checks of queries in files.
