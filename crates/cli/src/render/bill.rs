//! What asking language models will cost, as a table.

use std::fmt::Write;

use wimhf::CostEstimate;

/// The bill by stage, and its sum; `what` is what is paid for.
pub fn render(what: &str, bills: &[CostEstimate]) -> String {
    let mut out = format!("What {what} will take where nothing is cached\n\n");
    let mut rows = vec![["stage", "calls", "tokens in", "tokens out", "dollars", "model"].map(str::to_owned)];
    let money = |dollars: Option<f64>| dollars.map_or("unknown".to_owned(), |d| format!("{d:.2}"));
    for bill in bills {
        rows.push([
            bill.stage.to_owned(),
            bill.forecast.calls.to_string(),
            bill.forecast.tokens_in.to_string(),
            bill.forecast.tokens_out.to_string(),
            money(bill.dollars),
            format!("{} at {}", bill.model, bill.server),
        ]);
    }
    let sum = |of: &dyn Fn(&CostEstimate) -> u64| bills.iter().map(of).sum::<u64>().to_string();
    let dollars = bills.iter().map(|bill| bill.dollars).sum::<Option<f64>>();
    rows.push([
        "all".to_owned(),
        sum(&|b| b.forecast.calls),
        sum(&|b| b.forecast.tokens_in),
        sum(&|b| b.forecast.tokens_out),
        money(dollars),
        String::new(),
    ]);
    let wide = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..6).map(wide).collect();
    for row in &rows {
        // Writing into a string cannot fail.
        let _ = writeln!(
            out,
            "  {:<w0$}  {:>w1$}  {:>w2$}  {:>w3$}  {:>w4$}  {}",
            row[0],
            row[1],
            row[2],
            row[3],
            row[4],
            row[5],
            w0 = widths[0],
            w1 = widths[1],
            w2 = widths[2],
            w3 = widths[3],
            w4 = widths[4],
        );
    }
    out.push_str(
        "\nThe calls are exact; those that are repeated because a server failed come on top. Tokens are estimated \
         without the model's tokenizer,\nand a model that thinks answers more of them. Nothing has been asked.\n",
    );
    if dollars.is_none() {
        out.push_str("The price of a model is not known: give it with `--price-in` and `--price-out`.\n");
    }
    out
}
