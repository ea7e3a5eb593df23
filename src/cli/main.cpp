// cachalot: DeepSeek V4 on the machine its user owns.
#include <sstream>
#include <system_error>

#include "base/error.h"
#include "cli/command.h"
#include "cli/command_line.h"
#include "cli/output.h"
#include "cli/outputs.h"

namespace cachalot {
namespace {

// Returns the exit status. Throws what is not wrong usage.
int run_program(CLI::App& app, const std::vector<std::string>& arguments) {
    std::string command;
    try {
        auto line = cli::read_command_line(app, arguments);
        command = line.command;
        app.parse(
            std::vector<std::string>(line.arguments.rbegin(), line.arguments.rend()));  // the last one first
        return 0;
    } catch (const CLI::RuntimeError& e) {
        return e.get_exit_code();      // of a program that a command ran
    } catch (const CLI::Success& e) {  // --help, --version
        std::ostringstream text;
        const int status = app.exit(e, text, text);
        cli::print_text(text.str());
        return status;
    } catch (const cli::UsageError& e) {
        cli::say_line(cli::usage_text(e.what(), e.command.empty() ? command : e.command));
    } catch (const CLI::ParseError& e) {
        cli::say_line(cli::usage_text(e.what(), command));
    }
    return 2;
}

}  // namespace
}  // namespace cachalot

int main(int argc, char** argv) {
    using namespace cachalot;
    CLI::App app{"Runs models of the DeepSeek V4 family on this machine.", "cachalot"};
    app.set_version_flag("--version", std::string("cachalot ") + CACHALOT_VERSION);
    app.require_subcommand(1);
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
        return run_program(app, {argv + 1, argv + argc});
    } catch (const InternalError& e) {
        cli::say("cachalot: internal error: {}", e.what());
    } catch (const std::system_error& e) {
        const bool limit = e.code() == std::errc::resource_unavailable_try_again;
        cli::say("cachalot: {}{}", e.what(), limit ? ": no more threads can be created (see ulimit -u)" : "");
    } catch (const std::bad_alloc&) {
        cli::say("cachalot: out of memory");
    } catch (const std::exception& e) {
        cli::say("cachalot: {}", e.what());
    }
    return 1;
}
