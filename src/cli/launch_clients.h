// How each coding agent is told to use a server of ours: what `cachalot launch` sets, writes and passes.
//
// Nothing here changes what belongs to the user. Settings reach a client through its environment, its
// arguments or a file in a folder that is thrown away, in the way that takes precedence over the user's own
// configuration: an address in there would otherwise win, and send to somewhere else what was meant to stay
// on this machine.
#pragma once

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

namespace cachalot::cli {

// The server that a client shall use.
struct LaunchTarget {
    std::string host, url;     // "127.0.0.1", "http://127.0.0.1:11440"
    std::string model;         // as the server calls it
    std::int64_t context = 0;  // tokens of a conversation, answer included
    std::string key;           // never empty: clients want one even if the server does not
    std::string folder;        // where the files will be
};

struct ClientSetup {
    std::string program, how_to_install;
    std::vector<std::pair<std::string, std::string>> environment;
    std::vector<std::pair<std::string, std::string>> files;  // path in the folder, content
    std::vector<std::string> arguments;                      // before the user's own
};

// "claude", "codex", "opencode", "aider"
const std::vector<std::string>& client_names();

// `client` is one of those names.
ClientSetup client_setup(const std::string& client, const LaunchTarget& target);

// A script for sh that does by hand what the setup says.
std::string as_shell_script(const ClientSetup& setup, const std::string& folder,
                            const std::vector<std::string>& user_arguments);

}  // namespace cachalot::cli
