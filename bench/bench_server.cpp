// What the server costs for each token: the time between two tokens in a client that reads a stream, less the
// time between two tokens of the same answer when the engine runs without any server.
//
// Both are taken in turns in one process, so that the machine's moods hit both alike. The client reads whole
// pieces from its socket and takes the time when a chunk's last byte is there; it costs some of the machine's
// time itself.
#include <arpa/inet.h>
#include <fmt/format.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "engine/generation.h"
#include "server/api/openai.h"
#include "server/http/server.h"
#include "service/engine_service.h"

using namespace cachalot;
using Clock = std::chrono::steady_clock;

namespace {

constexpr int kRounds = 30;
constexpr int kTokens = 200;
constexpr const char* kPrompt = "Once upon a time";

using Times = std::vector<double>;  // milliseconds between tokens

struct Intervals {
    Times times;
    std::optional<Clock::time_point> last;
    void mark() {
        const auto now = Clock::now();
        if (last) times.push_back(std::chrono::duration<double, std::milli>(now - *last).count());
        last = now;
    }
};

// Both sides show pieces of text, which are whole characters: now and then one needs two tokens.
void measure_engine(Engine& engine, Times& times) {
    GenerationOptions options;
    options.sampling.temperature = 0;
    options.max_tokens = kTokens;
    Generation generation(engine, engine.model().tokenizer.encode(kPrompt, SpecialTokens::literal), options);
    KvState state = engine.new_state();
    Intervals intervals;
    GenerationCallbacks callbacks;
    callbacks.on_text = [&](const std::string&) {
        intervals.mark();
        return true;
    };
    run(engine, state, generation, callbacks);
    times.insert(times.end(), intervals.times.begin(), intervals.times.end());
}

int connect_to(std::uint16_t port) {
    const int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_port = htons(port);
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    if (connect(fd, reinterpret_cast<sockaddr*>(&address), sizeof address) != 0) fail("cannot connect");
    return fd;
}

void measure_server(std::uint16_t port, Times& times) {
    const std::string body = nlohmann::json{
        {"prompt", kPrompt},
        {"temperature", 0},
        {"max_tokens", kTokens},
        {"stream", true}}.dump();
    const std::string request = fmt::format(
        "POST /v1/completions HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Length: "
        "{}\r\n\r\n{}",
        body.size(), body);
    const int fd = connect_to(port);
    if (send(fd, request.data(), request.size(), 0) != static_cast<ssize_t>(request.size()))
        fail("cannot send");
    Intervals intervals;
    std::string input;
    char buffer[65536];
    for (ssize_t n; (n = recv(fd, buffer, sizeof buffer, 0)) > 0;) {
        input.append(buffer, static_cast<std::size_t>(n));
        for (std::size_t end; (end = input.find("\n\n")) != std::string::npos; input.erase(0, end + 2))
            if (input.substr(0, end).find(R"("text":")") != std::string::npos &&
                input.substr(0, end).find(R"("text":"")") == std::string::npos)
                intervals.mark();
    }
    close(fd);
    times.insert(times.end(), intervals.times.begin(), intervals.times.end());
}

double percentile(Times times, double p) {
    if (times.empty()) fail("there was no answer");
    std::sort(times.begin(), times.end());
    return times[static_cast<std::size_t>(p * static_cast<double>(times.size() - 1))];
}

void compare(const std::string& path, int threads) {
    EngineOptions options;
    options.threads = threads;
    Engine engine(Model::load(path), options);
    auto service = server::make_engine_service(engine, {});
    server::HttpServer http({}, server::openai_routes(*service));
    http.start();

    Times without, with;
    measure_engine(engine, without);  // to warm up
    measure_server(http.port(), with);
    without.clear();
    with.clear();
    for (int round = 0; round < kRounds; ++round) {
        measure_engine(engine, without);
        measure_server(http.port(), with);
    }
    http.stop();
    fmt::print("{}, {}: {} answers of {} tokens each way\n", path, engine.primitives().name(), kRounds,
               kTokens);
    fmt::print("milliseconds between tokens     p50      p99\n");
    auto row = [](const char* name, double p50, double p99) {
        fmt::print("{:<27} {:8.3f} {:8.3f}\n", name, p50, p99);
    };
    row("engine alone", percentile(without, 0.5), percentile(without, 0.99));
    row("client of the server", percentile(with, 0.5), percentile(with, 0.99));
    row("the server's part", percentile(with, 0.5) - percentile(without, 0.5),
        percentile(with, 0.99) - percentile(without, 0.99));
}

}  // namespace

// bench_server [MODEL [THREADS]]
int main(int argc, char** argv) {
    try {
        compare(argc > 1 ? argv[1] : CACHALOT_MODELS "/nano/nano.gguf", argc > 2 ? std::atoi(argv[2]) : 0);
    } catch (const std::exception& e) {
        fmt::print(stderr, "bench_server: {}\n", e.what());
        return 1;
    }
}
