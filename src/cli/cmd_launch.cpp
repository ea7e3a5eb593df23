// cachalot launch: a coding agent that talks to the model on this machine.
//
// A server that already listens is used as it is. Else one is started, and stopped when the client has ended;
// its log and the client's configuration lie in a temporary folder. The client has the terminal: Ctrl-C
// reaches it and not us, since we wait for signals instead of dying of them, nor the server, which has no
// terminal.
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "cli/command.h"
#include "cli/launch_clients.h"
#include "cli/launch_process.h"
#include "cli/option_value.h"
#include "file/text_file.h"
#include "server/http/access.h"
#include "server/http/client.h"

namespace cachalot::cli {
namespace {

using namespace std::chrono_literals;
namespace fs = std::filesystem;

struct LaunchOptions {
    std::string client, host = "127.0.0.1", key, alias, scripted;
    std::uint16_t port = 11440;
    ModelOptions model;
    bool print = false;
    std::vector<std::string> arguments;
    std::vector<std::string> of_server;  // options that are passed on to `serve`
};

class TemporaryFolder {
  public:
    TemporaryFolder() {
        path_ = (fs::temp_directory_path() / "cachalot-XXXXXX").string();
        if (!mkdtemp(path_.data())) fail("{}: cannot be created", path_);  // readable for us only
    }
    ~TemporaryFolder() {
        std::error_code ignored;
        if (!kept_) fs::remove_all(path_, ignored);
    }
    TemporaryFolder(const TemporaryFolder&) = delete;
    TemporaryFolder& operator=(const TemporaryFolder&) = delete;

    const std::string& path() const { return path_; }
    void keep() { kept_ = true; }

  private:
    std::string path_;
    bool kept_ = false;
};

std::string api_key(const LaunchOptions& o) {
    const char* environment = std::getenv("CACHALOT_API_KEY");
    std::string line = !o.key.empty() ? o.key : environment ? environment : "";
    return line.empty() ? line : server::ApiKeys::split(line).second;
}

// Where clients find what listens on `host`.
std::string reachable(const std::string& host) {
    return host == "0.0.0.0" ? "127.0.0.1" : host == "::" ? "::1" : host;
}

std::string url_of(const LaunchOptions& o) {
    const std::string host = reachable(o.host);
    const bool v6 = host.find(':') != std::string::npos;
    return fmt::format("http://{}{}{}:{}", v6 ? "[" : "", host, v6 ? "]" : "", o.port);
}

// The status of GET `path`, 0 if nobody listens.
int status_of(const LaunchOptions& o, const char* path) {
    auto answer = server::http_get(reachable(o.host), o.port, path);
    return answer ? answer->status : 0;
}

LaunchTarget ask_server(const LaunchOptions& o, const std::string& folder) {
    const std::string url = url_of(o), key = api_key(o);
    auto answer = server::http_get(reachable(o.host), o.port, "/v1/models", key);
    if (!answer) fail("the server at {} has gone", url);
    if (answer->status == 401)
        fail("the server at {} wants an API key: give it with --api-key or $CACHALOT_API_KEY", url);
    LaunchTarget target{reachable(o.host), url, {}, 0, key.empty() ? "none" : key, folder};
    try {
        const auto model = nlohmann::json::parse(answer->body).at("data").at(0);
        target.model = model.at("id").get<std::string>();
        target.context = model.at("context_length").get<std::int64_t>();
    } catch (const nlohmann::json::exception&) {
        fail("what answers at {} does not say which model it has and how long its context is (status {})",
             url, answer->status);
    }
    return target;
}

bool server_listens(const LaunchOptions& o) {
    const int status = status_of(o, "/health");
    if (status != 0 && status != 200)
        fail("what answers at {} is no server for clients (status {} at /health); choose another --port",
             url_of(o), status);
    return status == 200;
}

std::string last_line(const std::string& file) {
    std::string text = fs::exists(file) ? read_text_file(file) : "";
    while (text.ends_with('\n')) text.pop_back();
    return text.substr(text.rfind('\n') + 1);  // npos + 1 is 0
}

// Returns when the server is ready. `started` is ours, if it is: then its end, or a signal, ends the wait.
void wait_until_ready(const LaunchOptions& o, const WaitedSignals& signals, Process* started,
                      const std::string& log) {
    bool told = false;
    const auto begin = std::chrono::steady_clock::now();
    while (true) {
        if (started && started->ended())
            fail("the server did not start: {} (its log: {})", last_line(log), log);
        const int status = status_of(o, "/ready");
        if (status == 200) return;
        if (status == 0 && !started) fail("the server at {} has gone", url_of(o));
        if (status != 0 && status != 503)
            fail("what answers at {} is no server of ours (status {} at /ready)", url_of(o), status);
        if (!told && std::chrono::steady_clock::now() - begin > 1s) {
            say("cachalot: the model is being loaded");
            told = true;
        }
        const int signal = signals.wait(50ms);
        if (signal != 0 && signal != SIGCHLD) throw CLI::RuntimeError(128 + signal);
    }
}

Process::Options serve_command(const LaunchOptions& o, const std::string& log) {
    Process::Options options;
    options.command = {"/proc/self/exe", "serve", "--host=" + o.host, fmt::format("--port={}", o.port),
                       "--drain-timeout=1"};
    options.command.insert(options.command.end(), o.of_server.begin(), o.of_server.end());
    // Not as an argument, which everyone on this machine could read.
    if (!o.key.empty()) options.environment = {{"CACHALOT_API_KEY", o.key}};
    options.log = log;
    return options;
}

std::string not_installed(const ClientSetup& setup) {
    return fmt::format("{} is not installed, or not on the PATH; to install it: {}", setup.program,
                       setup.how_to_install);
}

int run_client(const ClientSetup& setup, const std::vector<std::string>& user_arguments,
               const WaitedSignals& signals) {
    for (const auto& [path, content] : setup.files) {
        std::ofstream file(path, std::ios::binary);
        if (!(file << content).flush()) fail("{}: cannot be written", path);
    }
    Process::Options options;
    options.command = {setup.program};
    options.command.insert(options.command.end(), setup.arguments.begin(), setup.arguments.end());
    options.command.insert(options.command.end(), user_arguments.begin(), user_arguments.end());
    options.environment = setup.environment;
    Process client(options, signals, not_installed(setup));
    while (true) {
        if (auto status = client.ended()) return *status;
        const int signal = signals.wait(1s);
        // Others come from the terminal. Some clients are deaf to SIGTERM while they work.
        if (signal == SIGTERM || signal == SIGHUP) client.stop(5s);
    }
}

int launch(LaunchOptions& o) {
    if (o.print && o.port == 0)
        wrong_usage("--print needs the --port of a server that runs, not any free one");
    // Before a server is asked or started and a model loaded, which may take minutes.
    if (const auto setup = client_setup(o.client, {}); !o.print && !program_exists(setup.program))
        fail("{}", not_installed(setup));
    if (o.port == 0 && !o.print) o.port = server::free_port();
    const bool running = server_listens(o);
    if (running && !o.of_server.empty())
        fail("a server is already running at {}: leave out {}, or give another --port", url_of(o),
             o.of_server.front().substr(0, o.of_server.front().find('=')));
    if (o.print) {
        if (!running) fail("no server answers at {}: start 'cachalot serve' first", url_of(o));
        const char* config = std::getenv("XDG_CONFIG_HOME");
        const char* home = std::getenv("HOME");
        const std::string folder =
            (config && *config ? fs::path(config) : fs::path(home ? home : ".") / ".config") / "cachalot";
        print_text(as_shell_script(client_setup(o.client, ask_server(o, folder)), folder, o.arguments));
        return 0;
    }

    const WaitedSignals signals;
    TemporaryFolder folder;
    const std::string log = folder.path() + "/serve.log";
    std::optional<Process> started;
    try {
        if (!running) {
            say("cachalot: starting a server at {}", url_of(o));
            started.emplace(serve_command(o, log), signals, "the program itself has gone");
        }
        wait_until_ready(o, signals, started ? &*started : nullptr, log);
        const ClientSetup setup = client_setup(o.client, ask_server(o, folder.path()));
        const int status = run_client(setup, o.arguments, signals);
        if (started && started->ended())
            fail("the server ended before {} did: {} (its log: {})", setup.program, last_line(log), log);
        if (started) started->stop(10s);
        return status;
    } catch (const Error&) {
        if (started && started->ended()) folder.keep();  // for its log
        throw;
    }
}

}  // namespace

void add_launch(CLI::App& app) {
    auto o = std::make_shared<LaunchOptions>();
    auto* command = app.add_subcommand("launch", "Starts a coding agent that uses the model on this machine");
    command->footer(
        "A server that listens at --host and --port is used; else one is started, and stopped in the end.\n"
        "What follows -- is passed to the client: cachalot launch codex -- exec 'Explain this project.'");
    command->add_option("client", o->client, fmt::format("{}", fmt::join(client_names(), ", ")))
        ->check(one_of(client_names()))
        ->required();
    command->add_option("arguments", o->arguments, "the client's own, after --")->type_name("ARGS");
    command->add_flag("--print", o->print,
                      "print what it would set, write and run, as a shell script, instead of doing it");
    command->add_option("--host", o->host, "address of the server")
        ->capture_default_str()
        ->type_name("ADDRESS");
    command->add_option("--port", o->port, "port of the server; 0: start one on any free port")
        ->check(CLI::Range(0, 65535))
        ->capture_default_str()
        ->type_name("N");
    command
        ->add_option("--api-key", o->key,
                     "the server's key. Visible to other users of this machine: better $CACHALOT_API_KEY")
        ->type_name("KEY");
    const std::string group = "Options of a server that is started";
    CLI::App* server = command->add_option_group(group);
    o->model.expert_heat = "auto";  // as serve has it
    o->model.add_to(*server);
    server->add_option("--alias", o->alias, "the model's name for clients")->type_name("NAME");
    server->add_option("--scripted", o->scripted, "answer from a script instead of a model")
        ->type_name("FILE");
    command->callback([o, server] {
        for (const CLI::Option* option : server->get_options())
            for (const std::string& value : option->results())
                o->of_server.push_back(fmt::format("{}={}", option->get_name(), value));
        if (const int status = launch(*o)) throw CLI::RuntimeError(status);
    });
}

}  // namespace cachalot::cli
