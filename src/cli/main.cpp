// cachalot: DeepSeek V4 on the machine its user owns.
#include <cstdio>

#include "base/error.h"
#include "cli/command.h"
#include "cli/outputs.h"

int main(int argc, char** argv) {
    using namespace cachalot;
    CLI::App app{"Runs models of the DeepSeek V4 family on this machine."};
    app.set_version_flag("--version", std::string("cachalot ") + CACHALOT_VERSION);
    app.require_subcommand(1);
    app.failure_message(CLI::FailureMessage::help);
    app.footer(
        "Without -m a command uses $CACHALOT_MODEL, else the nano model that comes with the project.\n"
        "'cachalot COMMAND --help' explains a command.");
    cli::add_run(app);
    cli::add_chat(app);
    cli::add_serve(app);
    cli::add_launch(app);
    cli::add_tokenize(app);
    cli::add_logits(app);
    cli::add_perplexity(app);
    cli::add_compare(app);
    cli::add_eval(app);
    cli::add_score_official(app);
    cli::add_imatrix(app);
    cli::add_bench(app);
    cli::add_cache(app);
    cli::add_cache_sim(app);
    cli::add_inspect(app);
    cli::add_plan(app);
    cli::add_convert(app);
    cli::add_synth(app);
    cli::remove_unfinished_files_on_signals();
    try {
        app.parse(argc, argv);
        return 0;
    } catch (const CLI::RuntimeError& e) {
        return e.get_exit_code();  // of a program that a command ran
    } catch (const CLI::ParseError& e) {
        return app.exit(e) == 0 ? 0 : 2;
    } catch (const InternalError& e) {
        fmt::print(stderr, "cachalot: internal error: {}\n", e.what());
    } catch (const std::bad_alloc&) {
        fmt::print(stderr, "cachalot: out of memory\n");
    } catch (const std::exception& e) {
        fmt::print(stderr, "cachalot: {}\n", e.what());
    }
    return 1;
}
