// cachalot chat: a conversation on the terminal.
#include "cli/chat_commands.h"
#include "cli/terminal_chat.h"

namespace cachalot::cli {

void add_chat(CLI::App& app) {
    auto o = std::make_shared<TerminalChatOptions>();
    auto* command = app.add_subcommand("chat", "A conversation on the terminal");
    o->model.expert_heat = "auto";
    o->model.add_to(*command);
    o->model.add_decoder_prefill_to(*command);
    o->model.log_options.add_to(*command);
    o->answer.add_to(*command);
    o->model.add_draft_to(*command);
    command->add_option("--load", o->load, "continue a conversation that /save wrote")
        ->excludes(command->get_option("--system"))
        ->type_name("FILE");
    command
        ->add_option(
            "--history", o->history,
            "where to keep what is typed, for the arrow keys in later sessions: a file, off, or auto: "
            "one in the user's state folder")
        ->capture_default_str()
        ->type_name("FILE");
    command->footer("In the conversation:\n" + chat_help());
    command->callback([o] {
        o->model.log = Log(o->model.log_options.open());
        terminal_chat(*o);
    });
}

}  // namespace cachalot::cli
