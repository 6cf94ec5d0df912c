//! Prints the reference of all settings, `docs/settings.md`.

fn main() -> Result<(), String> {
    print!("{}", fewshot_experiment::settings_reference()?);
    Ok(())
}
