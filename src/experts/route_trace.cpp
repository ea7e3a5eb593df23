#include "experts/route_trace.h"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <system_error>

#include "base/error.h"
#include "file/byte_reader.h"
#include "file/mapped_file.h"

namespace cachalot {
namespace {

constexpr std::string_view kMagic = "CCHROUTE";
constexpr std::uint32_t kVersion = 1;
constexpr int kMostLayers = 1024, kMostTopK = 64, kMostExperts = 4096;
constexpr std::uint64_t kMostExpertBytes = std::uint64_t(1) << 36;
constexpr std::uint32_t kLongestName = 4096;
constexpr std::size_t kRecordHeader = 12;
enum : std::uint8_t { kPrompt = 1, kSamePass = 2 };

// Chosen experts first, each once, each of the model; what is wrong with them, or nothing.
std::string problem(std::span<const std::uint16_t> chosen, int experts) {
    bool ended = false;
    for (std::size_t i = 0; i < chosen.size(); ++i) {
        if (chosen[i] == kNoExpert) {
            ended = true;
            continue;
        }
        if (ended) return "a choice after the last one";
        if (chosen[i] >= experts)
            return fmt::format("expert {}, but a layer has {} experts", chosen[i], experts);
        if (std::count(chosen.begin(), chosen.begin() + static_cast<std::ptrdiff_t>(i), chosen[i]))
            return fmt::format("expert {} is chosen twice", chosen[i]);
    }
    return {};
}

void check_counts(const RouteHeader& h, std::string_view source) {
    auto check = [&](std::string_view what, int value, int most) {
        if (value < 1 || value > most) fail("{}: {} is {}, expected 1 to {}", source, what, value, most);
    };
    check("the number of layers", h.layers, kMostLayers);
    check("the number of experts of a layer", h.experts, kMostExperts);
    check("the number of experts of a token", h.top_k, std::min(h.experts, kMostTopK));
}

template <class T>
void append(std::string& bytes, T value) {
    char raw[sizeof value];
    std::memcpy(raw, &value, sizeof value);
    bytes.append(raw, sizeof value);
}

RouteTrace parse_binary(std::string_view bytes, std::string_view source) {
    RouteTrace trace;
    trace.source = source;
    RouteHeader& h = trace.header;
    ByteReader reader(std::as_bytes(std::span(bytes)), source);
    reader.take(kMagic.size(), "magic");
    const auto version = reader.read<std::uint32_t>("version");
    if (version != kVersion) fail("{}: a route trace of version {}; known is {}", source, version, kVersion);
    h.layers = reader.read<std::int32_t>("number of layers");
    h.experts = reader.read<std::int32_t>("number of experts");
    h.top_k = reader.read<std::int32_t>("experts of a token");
    check_counts(h, source);
    for (int i = 0; i < h.layers; ++i) h.expert_bytes.push_back(reader.read<std::uint64_t>("expert bytes"));
    const auto length = reader.read<std::uint32_t>("length of the model's name");
    if (length > kLongestName) fail("{}: the model's name has {} bytes", source, length);
    const auto name = reader.take(length, "the model's name");
    h.model.assign(reinterpret_cast<const char*>(name.data()), name.size());
    validate(h, source);

    const std::size_t record = kRecordHeader + 2 * h.choices();
    const std::size_t count = reader.left() / record;
    trace.cut = reader.left() % record != 0;
    std::vector<std::uint16_t> choices(h.choices());
    for (std::size_t i = 0; i < count; ++i) {
        const std::size_t offset = reader.offset();
        RoutedToken token;
        token.id = reader.read<std::int32_t>("token id");
        token.sequence = reader.read<std::uint32_t>("sequence");
        const auto flags = reader.read<std::uint32_t>("flags");
        if (flags > (kPrompt | kSamePass))
            fail("{}: record {} at offset {}: unknown flags {:#x}", source, i, offset, flags);
        token.prompt = flags & kPrompt;
        token.same_pass = flags & kSamePass;
        if (token.same_pass && (i == 0 || token.prompt != trace.tokens.back().prompt))
            fail("{}: record {} at offset {}: cannot be in the same pass as the record before", source, i,
                 offset);
        const auto raw = reader.take(2 * choices.size(), "choices");
        std::memcpy(choices.data(), raw.data(), raw.size());
        const auto k = static_cast<std::size_t>(h.top_k);
        for (std::size_t l = 0; l < static_cast<std::size_t>(h.layers); ++l)
            if (auto what = problem(std::span(choices).subspan(l * k, k), h.experts); !what.empty())
                fail("{}: record {} at offset {}: layer {}: {}", source, i, offset, l, what);
        trace.add(token, choices);
    }
    return trace;
}

}  // namespace

std::uint64_t RouteHeader::largest_expert() const {
    return *std::max_element(expert_bytes.begin(), expert_bytes.end());
}

std::uint64_t RouteHeader::all_experts_bytes() const {
    std::uint64_t sum = 0;
    for (const auto bytes : expert_bytes) sum += bytes * static_cast<std::uint64_t>(experts);
    return sum;
}

std::span<const std::uint16_t> RouteTrace::chosen(std::size_t token, int layer) const {
    const auto k = static_cast<std::size_t>(header.top_k);
    const auto all =
        std::span(routes).subspan(token * header.choices() + static_cast<std::size_t>(layer) * k, k);
    return all.first(static_cast<std::size_t>(std::find(all.begin(), all.end(), kNoExpert) - all.begin()));
}

void RouteTrace::add(const RoutedToken& token, std::span<const std::uint16_t> choices) {
    CACHALOT_CHECK(choices.size() == header.choices());
    tokens.push_back(token);
    routes.insert(routes.end(), choices.begin(), choices.end());
}

void validate(const RouteHeader& h, std::string_view source) {
    check_counts(h, source);
    if (h.expert_bytes.size() != static_cast<std::size_t>(h.layers))
        fail("{}: sizes of experts for {} of {} layers", source, h.expert_bytes.size(), h.layers);
    for (std::size_t i = 0; i < h.expert_bytes.size(); ++i)
        if (h.expert_bytes[i] == 0 || h.expert_bytes[i] > kMostExpertBytes)
            fail("{}: an expert of layer {} has {} bytes", source, i, h.expert_bytes[i]);
}

void regroup_prompts(RouteTrace& trace, int tokens) {
    int in_pass = 0;
    for (std::size_t i = 0; i < trace.tokens.size(); ++i) {
        RoutedToken& token = trace.tokens[i];
        if (!token.prompt) continue;
        const RoutedToken* last = i > 0 ? &trace.tokens[i - 1] : nullptr;
        token.same_pass = last && last->prompt && last->sequence == token.sequence && in_pass < tokens;
        in_pass = token.same_pass ? in_pass + 1 : 1;
    }
}

RouteTrace parse_route_trace(std::string_view bytes, std::string_view source) {
    auto trace = bytes.starts_with(kMagic) ? parse_binary(bytes, source) : parse_route_csv(bytes, source);
    if (trace.tokens.empty()) fail("{}: the trace has no tokens", source);
    return trace;
}

RouteTrace read_route_trace(const std::filesystem::path& path) {
    const MappedFile file(path);
    return parse_route_trace({reinterpret_cast<const char*>(file.bytes().data()), file.size()},
                             path.string());
}

// Of a file that did not exist before nothing is left if not even its header can be written.
RouteTraceWriter::RouteTraceWriter(const std::filesystem::path& path, const RouteHeader& header)
    : path_(path.string()), choices_(header.choices()) {
    validate(header, path_);
    if (header.model.size() > kLongestName) fail("{}: the model's name is too long", path_);
    std::string bytes(kMagic);
    append(bytes, kVersion);
    append(bytes, static_cast<std::uint32_t>(header.layers));
    append(bytes, static_cast<std::uint32_t>(header.experts));
    append(bytes, static_cast<std::uint32_t>(header.top_k));
    for (const auto size : header.expert_bytes) append(bytes, size);
    append(bytes, static_cast<std::uint32_t>(header.model.size()));
    const bool is_new = !std::filesystem::exists(path);
    file_.open(path, std::ios::binary | std::ios::trunc);
    try {
        write(bytes + header.model);
        flush();
    } catch (const Error&) {
        std::error_code ignored;
        if (is_new) std::filesystem::remove(path, ignored);
        throw;
    }
}

void RouteTraceWriter::add(const RoutedToken& token, std::span<const std::uint16_t> choices) {
    CACHALOT_CHECK(choices.size() == choices_);
    std::string bytes;
    bytes.reserve(kRecordHeader + 2 * choices.size());
    append(bytes, token.id);
    append(bytes, token.sequence);
    append(bytes,
           static_cast<std::uint32_t>((token.prompt ? kPrompt : 0) | (token.same_pass ? kSamePass : 0)));
    for (const auto expert : choices) append(bytes, expert);
    write(bytes);
}

void RouteTraceWriter::flush() {
    if (!file_.flush()) fail("{}: cannot be written: {}", path_, std::generic_category().message(errno));
}

void RouteTraceWriter::write(const std::string& bytes) {
    if (!file_.write(bytes.data(), static_cast<std::streamsize>(bytes.size())))
        fail("{}: cannot be written: {}", path_, std::generic_category().message(errno));
}

}  // namespace cachalot
