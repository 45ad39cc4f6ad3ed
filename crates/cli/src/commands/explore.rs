//! `wimhf explore RUN…`, `wimhf ask RUN QUESTION`, `wimhf mcp RUN`: look, judge, decide, ask.

use std::path::{Path, PathBuf};

use clap::Args;
use serde_json::json;
use wimhf::llm::open::Role;
use wimhf::ops::models::NamedModel;
use wimhf_explore::{ExploreError, Opened, Options, ask, mcp, rating, serve, sql::Tables, validate};

use super::language::{HEADING as MODELS, SpendingArguments};
use super::{Call, Failure, open_run, print};
use crate::render;

/// What was typed.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  wimhf explore runs/mine
  wimhf explore runs/old runs/new --port 8080
  wimhf explore runs/mine --model qwen3 --base-url http://localhost:8000/v1")]
#[command(after_long_help = "Examples:
  wimhf explore runs/mine
  wimhf explore runs/old runs/new --port 8080
  wimhf explore runs/mine --model qwen3 --base-url http://localhost:8000/v1

Only this machine can reach the page, under the address that is printed with its token. What people decide is kept in
RUN/explore/decisions.sqlite and RUN/edits.toml; the run itself is not changed. Ctrl-C ends it; every decision is kept.
WIMHF_EXPLORE_TOKEN is the address's token, where each start should have the same one.")]
pub struct ExploreArguments {
    /// Finished run directories; several are shown side by side, too.
    #[arg(required = true, value_name = "RUN")]
    runs: Vec<PathBuf>,
    /// Port on 127.0.0.1 [default: any free one].
    #[arg(long, value_name = "PORT", default_value_t = 0, hide_default_value = true)]
    port: u16,
    /// Print the address, open no browser.
    #[arg(long)]
    no_open: bool,
    /// Leave out annotators, models' names, e-mail addresses, links, handles and long numbers.
    #[arg(long)]
    anonymise: bool,
    /// Keep the verdicts of a file (Label Studio's JSON, or a CSV), say what people say of the words, and serve nothing.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["port", "no_open"])]
    verdicts: Option<PathBuf>,
    #[command(flatten)]
    model: AskedModel,
}

/// Who answers questions.
#[derive(Debug, Args)]
pub struct AskedModel {
    /// The language model that answers questions; without it the tools can be called by hand.
    #[arg(long, value_name = "MODEL", help_heading = MODELS)]
    model: Option<String>,
    /// Its OpenAI-compatible server [default: OPENAI_BASE_URL, or OpenAI's].
    #[arg(long, value_name = "URL", requires = "model", help_heading = MODELS)]
    base_url: Option<String>,
    #[command(flatten)]
    spending: SpendingArguments,
}

impl AskedModel {
    /// Looked up before anything is served: a missing key should not show with the first question.
    fn named(&self, run: &wimhf::Run, call: &Call) -> Result<Option<NamedModel>, Failure> {
        let (model, url) = (self.model.as_deref(), self.base_url.as_deref());
        let request = self.spending.request(model, url, None, &call.context);
        let language = &run.manifest.config.describe.language;
        let named = request.resolve(language, Role::Executor, false);
        Ok(named.map_err(wimhf::ops::constitution::ConstitutionError::from).map_err(wimhf::Error::from)?)
    }
}

impl From<ExploreError> for Failure {
    fn from(error: ExploreError) -> Self {
        if let ExploreError::Library(error) = error {
            return error.into();
        }
        let hint = error.hint();
        let text = if hint.is_empty() { error.to_string() } else { format!("{error}\nhint: {hint}") };
        Self::mistake(text)
    }
}

/// Serves the page.
pub fn run(arguments: ExploreArguments, call: &Call) -> Result<(), Failure> {
    let first = arguments.runs.first().ok_or_else(|| Failure::mistake("no run is named"))?;
    if let Some(file) = &arguments.verdicts {
        return verdicts(first, file, call);
    }
    let model = arguments.model.named(&open_run(first, &call.context)?, call)?;
    let options = Options {
        runs: arguments.runs,
        port: arguments.port,
        anonymise: arguments.anonymise,
        model,
        token: std::env::var("WIMHF_EXPLORE_TOKEN").ok().filter(|token| !token.is_empty()),
        context: call.context.clone(),
    };
    let json = call.json;
    serve(options, |address| {
        // Whoever starts it from a program reads the address; a reader that has gone away is no reason to stop.
        let text = if json { format!("{}\n", json!({"address": address})) } else { format!("{address}\n") };
        let _ = print(&text);
        call.note("only this machine can reach it, and only with this address; Ctrl-C ends it, every decision is kept");
        if !arguments.no_open && open::that_detached(address).is_err() {
            call.note("no browser could be opened: open the address yourself");
        }
    })?;
    Err(Failure { code: 130, message: String::new() })
}

/// Keeps the verdicts that people gave in another tool.
fn verdicts(run: &Path, file: &Path, call: &Call) -> Result<(), Failure> {
    let opened = Opened::open(run, false, &call.context)?;
    opened.prepare();
    let imported = rating::read(&opened, file)?;
    for why in &imported.left_out {
        call.note(&format!("left out: {why}"));
    }
    let found = validate::validate(&opened, "")?;
    let value = json!({"imported": imported, "features": found["features"], "sentence": found["sentence"]});
    call.answer(&value, |_| {
        format!("{} verdicts kept.\n{}\n", imported.kept, found["sentence"].as_str().unwrap_or_default())
    })
}

/// What was typed.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  wimhf ask runs/mine \"do annotators punish disclaimers more on medical prompts?\" --model gpt-5-mini
  wimhf ask runs/mine \"what is punished most?\" --model qwen3 --base-url http://localhost:8000/v1 --max-cost 0.05")]
pub struct AskArguments {
    /// A finished run directory.
    run: PathBuf,
    /// In plain words.
    question: String,
    #[command(flatten)]
    model: AskedModel,
}

/// Asks a language model that has the tools.
pub fn answer(arguments: &AskArguments, call: &Call) -> Result<(), Failure> {
    let run = open_run(&arguments.run, &call.context)?;
    let Some(model) = arguments.model.named(&run, call)? else {
        return Err(Failure::mistake(
            "`wimhf ask` needs a language model\nhint: `--model MODEL` (and `--base-url URL` for a server of your own), or read `wimhf explore RUN`",
        ));
    };
    let opened = Opened::open(&arguments.run, false, &call.context)?;
    opened.prepare();
    let found = ask::ask(&opened, &Tables::default(), &model, &arguments.question, &mut call.progress())?;
    call.answer(&found, |_| render::ask::answer(&found))
}

/// What was typed.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  wimhf mcp runs/mine
  claude mcp add wimhf -- wimhf mcp /path/to/runs/mine")]
#[command(after_long_help = "Examples:
  wimhf mcp runs/mine
  claude mcp add wimhf -- wimhf mcp /path/to/runs/mine

For the settings of an assistant that speaks MCP, such as:
  {\"mcpServers\": {\"wimhf\": {\"command\": \"wimhf\", \"args\": [\"mcp\", \"/path/to/runs/mine\"]}}}")]
pub struct McpArguments {
    /// A finished run directory.
    run: PathBuf,
    /// Leave out annotators, models' names, e-mail addresses, links, handles and long numbers.
    #[arg(long)]
    anonymise: bool,
}

/// Serves the tools over stdin and stdout.
pub fn tools(arguments: &McpArguments, call: &Call) -> Result<(), Failure> {
    open_run(&arguments.run, &call.context)?;
    let opened = Opened::open(&arguments.run, arguments.anonymise, &call.context)?;
    Ok(mcp::serve(opened)?)
}
