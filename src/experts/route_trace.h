// Which experts a model chose, token by token: what a cache policy can be judged on without the model.
//
// The file (little-endian; docs/expert-cache.md has an example):
//
//     offset     bytes
//     0          8        "CCHROUTE"
//     8          4        version, 1
//     12         4        layers L
//     16         4        experts of a layer E
//     20         4        most experts of a token in a layer, k
//     24         8 x L    bytes of an expert of each layer
//     24+8L      4        length of the model's name N
//     28+8L      N        the name
//                         then one record for each token, in the order of evaluation:
//     0          4        token id, -1 if unknown
//     4          4        number of the sequence (conversation) that it belongs to
//     8          4        1: token of a prompt; 2: evaluated in the same pass as the record before
//     12         2 x L x k  experts of layer 0, of layer 1, ..., each in the router's order; 0xffff: none
//
// A token of V4-Flash takes 528 bytes. Records are appended as they come; if the program is killed in the
// middle of one, the reader drops it.
#pragma once

#include <cstdint>
#include <filesystem>
#include <fstream>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace cachalot {

inline constexpr std::uint16_t kNoExpert = 0xffff;

// The shape of the model that a trace is from.
struct RouteHeader {
    std::string model;
    int layers = 0;
    int experts = 0;                          // E, of a layer
    int top_k = 0;                            // k, chosen by a token in a layer at most
    std::vector<std::uint64_t> expert_bytes;  // [layers]

    std::size_t choices() const {  // of one token
        return static_cast<std::size_t>(layers) * static_cast<std::size_t>(top_k);
    }
    std::uint64_t largest_expert() const;
    std::uint64_t all_experts_bytes() const;
    bool operator==(const RouteHeader&) const = default;
};

struct RoutedToken {
    std::int32_t id = -1;
    std::uint32_t sequence = 0;
    bool prompt = false;
    bool same_pass = false;  // evaluated together with the token before it

    bool operator==(const RoutedToken&) const = default;
};

struct RouteTrace {
    std::string source;  // for messages
    RouteHeader header;
    std::vector<RoutedToken> tokens;
    std::vector<std::uint16_t> routes;  // [tokens][layers][top_k], the chosen ones first, then kNoExpert
    bool cut = false;                   // the file ends in the middle of a record

    std::span<const std::uint16_t> chosen(std::size_t token, int layer) const;
    void add(const RoutedToken& token, std::span<const std::uint16_t> choices);  // [layers][top_k]
};

// Reads a trace in the format above or, as those of BigMoeOnEdge, as CSV (see read_route_csv). What is
// returned is valid: experts exist and are distinct within a layer. Throws Error naming the file and the line
// or the offset.
RouteTrace read_route_trace(const std::filesystem::path& path);
RouteTrace parse_route_trace(std::string_view bytes, std::string_view source);

// CSV as the project BigMoeOnEdge writes it: lines "# key=value ..." that give n_layer, n_expert,
// n_expert_used and for every layer "layer=N expert_bytes=B", a line with the names of the columns, of which
// turn, phase (0: prompt), step, layer, slot and expert are used, then one line for each choice. It does not
// say which tokens of a prompt were evaluated together: each is a pass of its own.
RouteTrace parse_route_csv(std::string_view text, std::string_view source);

// Makes passes of `tokens` tokens out of every prompt.
void regroup_prompts(RouteTrace& trace, int tokens);

// Appends records to a file as they come. Throws Error naming the path.
class RouteTraceWriter {
  public:
    RouteTraceWriter(const std::filesystem::path& path, const RouteHeader& header);
    // choices: [layers][top_k], as in RouteTrace
    void add(const RoutedToken& token, std::span<const std::uint16_t> choices);
    void flush();

  private:
    void write(const std::string& bytes);

    std::string path_;
    std::ofstream file_;
    std::size_t choices_;
};

// Throws Error starting with `source` if no model has such a shape.
void validate(const RouteHeader& header, std::string_view source);

}  // namespace cachalot
