//! Finds the sides that the reference has units at a tie on.
//!
//! The side of a unit near zero shows in the gradients of its own batch norm, and nothing
//! behind that can tell: layers are settled from the last to the first, each by the set of
//! its units that best explains how its gradients deviate. Ties in pooling windows show in
//! the gradients of convolutions only, and are tried out one by one.

use std::collections::HashMap;

use candle_core::backprop::GradStore;
use candle_core::{Result, Tensor, TensorId};
use fewshot_parity::{integers, numbers};
use serde_json::Value;

use super::ties::{Layer, Nudges, Unit, Units, values, watch};
use super::{FLOOR, deviations};

/// Deviation of a gradient that is rounding alone: what the last layer has at least.
const ROUNDING: f64 = 2e-6;
/// Nearest units of a layer that are taken into account, and how many of them at once.
const UNITS: usize = 32;
const TOGETHER: usize = 6;
/// Deviation that more than rounding explains.
const UNEXPLAINED: f64 = 3e-4;
/// Nearest ties in pooling windows that are tried out.
const TRIALS: usize = 12;

/// What is compared: passes that give the loss's gradients, every parameter's name, and the
/// reference's gradients.
pub struct Settling<'a> {
    /// Gives all gradients.
    pub pass: &'a dyn Fn() -> GradStore,
    /// Gives those of the batch norms, sooner.
    pub norms: &'a dyn Fn() -> GradStore,
    pub names: HashMap<TensorId, String>,
    pub digests: &'a Value,
}

/// What a layer's own units say of how its gradients deviate.
struct Explanation {
    /// Those that the reference has on the other side.
    flipped: Vec<Unit>,
    /// The deviation that is left with them there.
    left: f64,
    /// Moves that keep the layer's units where they are.
    pins: Vec<(usize, f32)>,
}

/// A watched pass.
struct Run {
    gradients: GradStore,
    layers: Vec<Layer>,
}

impl Settling<'_> {
    /// The gradients with ties as the reference has them, and how many units that moved.
    pub fn settle(&self) -> Result<(GradStore, usize)> {
        let mut moved = 0;
        let mut nudges = Nudges::new();
        let mut run = self.run(&nudges);
        let mut rounding = ROUNDING;
        for index in (0..run.layers.len()).rev() {
            let mut own = self.explain(&run, index, &nudges, rounding)?;
            while own.left > UNEXPLAINED {
                let Some(tried) = self.overtake(&run, index, &nudges, &own, rounding)? else {
                    break;
                };
                (run, nudges, own) = tried;
                moved += 1;
            }
            // What is left here is what to expect in the layer before: about 36 numbers' largest.
            rounding = ROUNDING.max(own.left / 2.5);
            // The units that stay on their side are moved away from the tie: the next pass
            // rounds anew.
            let moves = nudges.entry(index).or_default();
            own.pins.iter().for_each(|(unit, by)| *moves.entry(*unit).or_default() += by);
            own.flipped.iter().for_each(|unit| {
                moves.insert(unit.index, unit.nudge);
            });
            if !own.flipped.is_empty() {
                run = self.run(&nudges);
                moved += own.flipped.len();
            }
        }
        self.overtake_first(nudges, moved)
    }

    fn run(&self, nudges: &Nudges) -> Run {
        let (gradients, layers) = watch(nudges, self.norms);
        Run { gradients, layers }
    }

    /// The units of a layer that are near zero, with what their other side would change.
    fn near_zero(&self, units: &Units, index: usize, nudges: &Nudges) -> Result<Vec<Unit>> {
        let mut near = units.near_zero();
        near.truncate(UNITS);
        if !units.is_pooled() {
            return Ok(near);
        }
        // A pool sends its gradient to a unit below zero only once that is above.
        let below = near.iter().filter(|unit| unit.is_below).map(|u| (u.index, u.nudge));
        let mut nudges = nudges.clone();
        nudges.insert(index, below.collect());
        let lifted = self.run(&nudges);
        let lifted = lifted.layers[index].units(index, &lifted.gradients)?;
        for unit in near.iter_mut().filter(|unit| unit.is_below) {
            [unit.weight_gradient, unit.bias_gradient] = lifted.share(unit.index);
        }
        Ok(near)
    }

    /// How far a layer's own gradients deviate, and which of its units explain that.
    fn explain(
        &self,
        run: &Run,
        index: usize,
        nudges: &Nudges,
        rounding: f64,
    ) -> Result<Explanation> {
        let layer = &run.layers[index];
        let all = layer.units(index, &run.gradients)?;
        let mut units = self.near_zero(&all, index, nudges)?;
        let own = |tensor: &Tensor, change: fn(&Unit) -> f64| -> Result<Terms> {
            let gradient = run.gradients.get(tensor).map(values).transpose()?.unwrap_or_default();
            let digest = &self.digests[&self.names[&tensor.id()]];
            Ok(Terms::new(digest, &gradient, &units, change, rounding))
        };
        let mut terms = own(&layer.weight, |unit| unit.weight_gradient)?;
        terms.append(own(&layer.bias, |unit| unit.bias_gradient)?);
        let prices = units.iter().map(|unit| 4.0 + unit.distance.powi(2));
        let set = terms.best_set(prices.collect());
        let left = terms.size(&set) * rounding;
        let mut number = 0..;
        units.retain(|_| set.contains(&number.next().unwrap_or_default()));
        Ok(Explanation { flipped: units, left, pins: all.pins() })
    }

    /// What a layer's own units do not explain may be the doing of a pool behind it: looks for
    /// the unit whose overtaking leaves much less.
    fn overtake(
        &self,
        run: &Run,
        index: usize,
        nudges: &Nudges,
        own: &Explanation,
        rounding: f64,
    ) -> Result<Option<(Run, Nudges, Explanation)>> {
        for (pooled, layer) in run.layers.iter().enumerate().skip(index) {
            let overtakings = layer.units(pooled, &run.gradients)?.overtakings();
            for (unit, nudge) in overtakings.into_iter().take(TRIALS) {
                let mut tried = nudges.clone();
                *tried.entry(pooled).or_default().entry(unit).or_default() += nudge;
                let trial = self.run(&tried);
                let better = self.explain(&trial, index, &tried, rounding)?;
                if better.left < own.left / 3.0 {
                    return Ok(Some((trial, tried, better)));
                }
            }
        }
        Ok(None)
    }

    /// The same for the pool behind the first layer, whose ties show in the first convolution
    /// only: keeps each overtaking that brings all gradients nearer.
    fn overtake_first(&self, mut nudges: Nudges, mut moved: usize) -> Result<(GradStore, usize)> {
        let (mut gradients, layers) = watch(&nudges, self.pass);
        let overtakings = layers[0].units(0, &gradients)?.overtakings();
        for (unit, nudge) in overtakings.into_iter().take(TRIALS) {
            let before = self.distance(&gradients)?;
            if before < UNEXPLAINED {
                break;
            }
            let mut tried = nudges.clone();
            *tried.entry(0).or_default().entry(unit).or_default() += nudge;
            let (trial, _) = watch(&tried, self.pass);
            if self.distance(&trial)? < 0.9 * before {
                (gradients, nudges) = (trial, tried);
                moved += 1;
            }
        }
        Ok((gradients, moved))
    }

    /// Root of the sum of squared deviations of all gradients.
    fn distance(&self, gradients: &GradStore) -> Result<f64> {
        let gradient = |(&id, name): (&TensorId, &String)| {
            let gradient = gradients.get_id(id).map(|g| (name.clone(), g.clone()));
            gradient.ok_or_else(|| candle_core::Error::Msg(format!("no gradient of {name}")))
        };
        let gradients = self.names.iter().map(gradient).collect::<Result<_>>()?;
        Ok(deviations(self.digests, &gradients).values().map(|d| d * d).sum::<f64>().sqrt())
    }
}

/// What a digest says of a gradient: how far each of its numbers is off, and what each unit
/// would change of that, all relative to the rounding that is to be expected.
#[derive(Default)]
struct Terms {
    off: Vec<f64>,
    changes: Vec<Vec<f64>>,
}

impl Terms {
    fn new(
        digest: &Value,
        gradient: &[f64],
        units: &[Unit],
        change: fn(&Unit) -> f64,
        rounding: f64,
    ) -> Self {
        let number = |key: &str| digest[key].as_f64().unwrap_or(f64::NAN);
        let count = gradient.len() as f64;
        let rms = (number("sum_sq") / count).sqrt().max(FLOOR);
        let scale = 1.0 / (rms * rounding);
        let sums = [
            gradient.iter().sum::<f64>() - number("sum"),
            (gradient.iter().map(|g| g * g).sum::<f64>() - number("sum_sq")) / (2.0 * rms),
        ];
        let samples = integers(&digest["index"]);
        let sampled = samples.iter().zip(numbers(&digest["value"]));
        let sampled = sampled.map(|(&i, expected)| gradient[i] - expected);
        let off = sums.map(|sum| sum / count.sqrt()).into_iter().chain(sampled);
        let changes = |unit: &Unit| {
            let change = change(unit);
            let squares = change * (gradient[unit.channel] + change / 2.0) / rms;
            let at = samples.iter().map(|&i| if i == unit.channel { change } else { 0.0 });
            let sums = [change / count.sqrt(), squares / count.sqrt()];
            sums.into_iter().chain(at).map(|v| v * scale).collect()
        };
        Self { off: off.map(|v| v * scale).collect(), changes: units.iter().map(changes).collect() }
    }

    fn append(&mut self, other: Self) {
        self.off.extend(other.off);
        self.changes.iter_mut().zip(other.changes).for_each(|(own, other)| own.extend(other));
    }

    fn size(&self, set: &[usize]) -> f64 {
        let mut off = self.off.clone();
        for &unit in set {
            off.iter_mut().zip(&self.changes[unit]).for_each(|(off, change)| *off += change);
        }
        off.iter().fold(0.0, |worst: f64, v| worst.max(v.abs()))
    }

    /// The set of units that explains best: least squares, with a price on each unit.
    fn best_set(&self, prices: Vec<f64>) -> Vec<usize> {
        // Numbers that no unit changes do not tell sets apart.
        let is_moved = |&term: &usize| self.changes.iter().any(|change| change[term] != 0.0);
        let terms: Vec<_> = (0..self.off.len()).filter(is_moved).collect();
        let pick = |all: &[f64]| terms.iter().map(|&term| all[term]).collect::<Vec<_>>();
        let changes: Vec<_> = self.changes.iter().map(|change| pick(change)).collect();
        let mut search = Search { changes, prices, set: Vec::new(), best: (f64::MAX, Vec::new()) };
        search.look(0, &pick(&self.off), 0.0);
        search.best.1
    }
}

/// All sets of up to [`TOGETHER`] units, depth first.
struct Search {
    changes: Vec<Vec<f64>>,
    prices: Vec<f64>,
    set: Vec<usize>,
    best: (f64, Vec<usize>),
}

impl Search {
    fn look(&mut self, from: usize, off: &[f64], price: f64) {
        let cost = price + off.iter().map(|v| v * v).sum::<f64>();
        if cost < self.best.0 {
            self.best = (cost, self.set.clone());
        }
        for unit in from..self.changes.len() {
            let price = price + self.prices[unit];
            if self.set.len() < TOGETHER && price < self.best.0 {
                let off: Vec<_> = off.iter().zip(&self.changes[unit]).map(|(a, b)| a + b).collect();
                self.set.push(unit);
                self.look(unit + 1, &off, price);
                self.set.pop();
            }
        }
    }
}
