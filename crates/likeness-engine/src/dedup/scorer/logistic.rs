//! Logistic regression by Newton's method (iteratively reweighted least squares), small and dense.

/// Newton converges in 5 to 10 steps; separable data with a weak penalty needs some more.
const MAX_STEPS: usize = 100;
/// Largest change of a coefficient at which a fit is done.
const TOLERANCE: f64 = 1e-9;

/// 1 / (1 + e⁻ˣ), without overflow; 0.5 at 0.
pub(super) fn sigmoid(logit: f64) -> f64 {
    1.0 / (1.0 + (-logit).exp())
}

/// A row of a regression.
#[derive(Debug, Clone, Copy)]
pub(super) struct Row<const N: usize> {
    /// Values of the terms. The bias is a term of its own: 1.
    pub(super) terms: [f64; N],
    /// Probability to be met, 0 to 1.
    pub(super) target: f64,
    /// Share in the loss, above 0. The fit divides by the sum.
    pub(super) weight: f64,
}

/// Returns the coefficients with the least mean loss + Σ penaltyᵢ·coefficientᵢ²/2; a term whose penalty is
/// infinite keeps the coefficient 0. `None` without rows, or if the steps do not settle.
pub(super) fn fit<const N: usize>(rows: &[Row<N>], penalties: [f64; N]) -> Option<[f64; N]> {
    if rows.is_empty() {
        return None;
    }
    let total: f64 = rows.iter().map(|row| row.weight).sum();
    let mut coefficients = [0.0; N];
    let mut loss = mean_loss(rows, &coefficients, &penalties, total);
    for _ in 0..MAX_STEPS {
        let step = newton_step(rows, &coefficients, &penalties, total)?;
        // Far from the optimum a full step can overshoot: halve it until the loss falls.
        let mut share = 1.0;
        let (next, next_loss) = loop {
            let next: [f64; N] = std::array::from_fn(|idx| coefficients[idx] - share * step[idx]);
            let next_loss = mean_loss(rows, &next, &penalties, total);
            if next_loss <= loss || share < 1e-6 {
                break (next, next_loss);
            }
            share /= 2.0;
        };
        let change = (0..N)
            .map(|idx| (next[idx] - coefficients[idx]).abs())
            .fold(0.0, f64::max);
        (coefficients, loss) = (next, next_loss);
        if change < TOLERANCE {
            return Some(coefficients);
        }
    }
    None
}

fn logit<const N: usize>(terms: &[f64; N], coefficients: &[f64; N]) -> f64 {
    terms
        .iter()
        .zip(coefficients)
        .map(|(term, coefficient)| term * coefficient)
        .sum()
}

fn mean_loss<const N: usize>(
    rows: &[Row<N>],
    coefficients: &[f64; N],
    penalties: &[f64; N],
    total: f64,
) -> f64 {
    let loss: f64 = rows
        .iter()
        .map(|row| {
            let logit = logit(&row.terms, coefficients);
            // log(1 + eˣ) - target·x, in a form that does not overflow.
            row.weight * (logit.max(0.0) + (-logit.abs()).exp().ln_1p() - row.target * logit)
        })
        .sum();
    let penalty = |idx: usize| {
        if coefficients[idx] == 0.0 {
            0.0
        } else {
            penalties[idx] * coefficients[idx].powi(2) / 2.0
        }
    };
    loss / total + (0..N).map(penalty).sum::<f64>()
}

/// Returns Hessian⁻¹ · gradient, zero for terms held at zero.
fn newton_step<const N: usize>(
    rows: &[Row<N>],
    coefficients: &[f64; N],
    penalties: &[f64; N],
    total: f64,
) -> Option<[f64; N]> {
    let mut gradient = [0.0; N];
    let mut hessian = [[0.0; N]; N];
    for row in rows {
        let probability = sigmoid(logit(&row.terms, coefficients));
        let error = row.weight / total * (probability - row.target);
        let curvature = row.weight / total * probability * (1.0 - probability);
        for (i, hessian_row) in hessian.iter_mut().enumerate() {
            gradient[i] += error * row.terms[i];
            for (cell, term) in hessian_row.iter_mut().zip(&row.terms) {
                *cell += curvature * row.terms[i] * term;
            }
        }
    }
    for i in 0..N {
        if penalties[i].is_infinite() {
            gradient[i] = 0.0;
            hessian[i] = [0.0; N];
            for row in &mut hessian {
                row[i] = 0.0;
            }
            hessian[i][i] = 1.0;
        } else {
            gradient[i] += penalties[i] * coefficients[i];
            // The little more keeps the matrix regular when all rows are certain.
            hessian[i][i] += penalties[i] + 1e-12;
        }
    }
    solve(hessian, gradient)
}

/// Solves a symmetric positive definite system by Gauss's elimination, which then needs no pivots.
fn solve<const N: usize>(mut matrix: [[f64; N]; N], mut right: [f64; N]) -> Option<[f64; N]> {
    for column in 0..N {
        let pivot = matrix[column][column];
        if !(pivot.is_finite() && pivot > 0.0) {
            return None;
        }
        for row in column + 1..N {
            let factor = matrix[row][column] / pivot;
            let pivot_row = matrix[column];
            for (cell, above) in matrix[row].iter_mut().zip(pivot_row).skip(column) {
                *cell -= factor * above;
            }
            right[row] -= factor * right[column];
        }
    }
    for row in (0..N).rev() {
        let known: f64 = (row + 1..N).map(|idx| matrix[row][idx] * right[idx]).sum();
        right[row] = (right[row] - known) / matrix[row][row];
    }
    right.iter().all(|value| value.is_finite()).then_some(right)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sigmoid_survives_the_extremes() {
        assert_eq!(
            [f64::NEG_INFINITY, -1e300, 0.0, 1e300, f64::INFINITY].map(sigmoid),
            [0.0, 0.0, 0.5, 1.0, 1.0]
        );
    }

    #[test]
    fn recovers_the_coefficients_that_made_the_targets() {
        let truth = [0.5, -2.0, 3.0];
        let rows: Vec<Row<3>> = (0..200)
            .map(|idx| {
                let terms = [1.0, f64::from(idx % 17) / 17.0, f64::from(idx % 5) / 5.0];
                Row {
                    terms,
                    target: sigmoid(logit(&terms, &truth)),
                    weight: 1.0 + f64::from(idx % 3),
                }
            })
            .collect();
        let fitted = fit(&rows, [0.0; 3]).unwrap();
        for (fitted, truth) in fitted.iter().zip(truth) {
            assert!((fitted - truth).abs() < 1e-6, "{fitted} {truth}");
        }
        assert_eq!(fit(&rows, [0.0, f64::INFINITY, 0.0]).unwrap()[1], 0.0);
    }

    #[test]
    fn a_penalty_bounds_separable_data() {
        let rows = [-1.0, 1.0].map(|x| Row {
            terms: [1.0, x],
            target: f64::from(u8::from(x > 0.0)),
            weight: 1.0,
        });
        let [bias, slope] = fit(&rows, [0.0, 1e-3]).unwrap();
        assert!(
            bias.abs() < 1e-9 && (2.0..10.0).contains(&slope),
            "{bias} {slope}"
        );
    }

    #[test]
    fn no_rows_give_no_fit() {
        assert_eq!(fit::<2>(&[], [0.0, 1.0]), None);
    }
}
