//! What tests share: the naive evaluator, recorded answers, traces read back from blocks. Nothing
//! here knows the engine's insides. `proxy` and `servers` belong to the tests of `src/blocks`.

pub(crate) mod evaluate;
pub(crate) mod golden;
pub(crate) mod stored;
