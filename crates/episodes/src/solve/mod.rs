//! Solvers of the heads that minimise an objective.

mod cholesky;
mod lbfgs;

pub(crate) use cholesky::solve_spd;
pub(crate) use lbfgs::minimize;
