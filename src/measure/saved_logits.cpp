#include "measure/saved_logits.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>

#include "base/error.h"
#include "measure/text_windows.h"

namespace cachalot {
namespace {

constexpr std::string_view kMagic = "CLOGPROB";
constexpr std::uint32_t kVersion = 1;
constexpr std::size_t kPiece = std::size_t(1) << 20;  // that is hashed at once
constexpr double kNothing = -std::numeric_limits<double>::infinity();

template <class T>
void put(std::string& bytes, T value) {
    bytes.append(reinterpret_cast<const char*>(&value), sizeof(value));
}

void put_string(std::string& bytes, std::string_view text) {
    put(bytes, std::uint64_t{text.size()});
    bytes += text;
}

void put_varint(std::string& bytes, std::uint32_t value) {
    for (; value >= 0x80; value >>= 7) bytes += static_cast<char>(value | 0x80);
    bytes += static_cast<char>(value);
}

std::uint32_t read_varint(ByteReader& reader) {
    std::uint32_t value = 0;
    for (int shift = 0; shift < 32; shift += 7) {
        const auto byte = reader.read<std::uint8_t>("a token");
        value |= static_cast<std::uint32_t>(byte & 0x7f) << shift;
        if (byte < 0x80) break;
    }
    return value;
}

void hash_piece(Hash128& hash, std::span<const std::byte> piece) {
    std::vector<std::byte> bytes(hash.begin(), hash.end());
    bytes.insert(bytes.end(), piece.begin(), piece.end());
    hash = hash128(bytes);
}

std::size_t rows_of(const SavedText& text) {
    std::size_t rows = 0;
    for (const auto window : text_windows(text.ids, text.window)) rows += predictions(window);
    return rows;
}

bool more_probable(const TokenLogprob& a, const TokenLogprob& b) {
    return a.logprob != b.logprob ? a.logprob > b.logprob : a.token < b.token;
}

// The log-probability from which on tokens are kept. Found in steps of 1/8, so that the row need not be
// sorted.
double lowest_kept(std::span<const float> logits, double norm) {
    constexpr double kSteps = 8, kDeepest = 100;
    std::array<double, std::size_t(kSteps * kDeepest) + 1> mass{};
    for (float x : logits) {
        const double depth = std::min(norm - x, kDeepest);
        mass[static_cast<std::size_t>(std::max(depth, 0.0) * kSteps)] += std::exp(x - norm);
    }
    double rest = 0;
    for (std::size_t i = mass.size(); i-- > 0;)
        if ((rest += mass[i]) > SavedRow::kRest) return -static_cast<double>(i + 1) / kSteps;
    return kNothing;
}

}  // namespace

SavedRow SavedRow::of(std::span<const float> logits, std::int32_t next) {
    const double norm = log_sum_exp(logits), lowest = lowest_kept(logits, norm);
    SavedRow row;
    row.next = logits[static_cast<std::size_t>(next)] - norm;
    double rest = 0;
    for (std::size_t i = 0; i < logits.size(); ++i) {
        const double logprob = logits[i] - norm;
        if (logprob >= lowest)
            row.kept.push_back({static_cast<std::int32_t>(i), logprob});
        else
            rest += std::exp(logprob);
    }
    row.rest = rest > 0 ? std::log(rest) : kNothing;
    row.exact = std::min(kExact, row.kept.size());
    const auto exact = row.kept.begin() + static_cast<std::ptrdiff_t>(row.exact);
    std::partial_sort(row.kept.begin(), exact, row.kept.end(), more_probable);
    std::sort(exact, row.kept.end(), [](const auto& a, const auto& b) { return a.token < b.token; });
    return row;
}

Hash128 vocabulary_key(const Tokenizer& tokenizer) {
    std::string all;
    for (const auto& token : tokenizer.data().tokens) put_string(all, token);
    return hash128(std::as_bytes(std::span(all)));
}

SavedText saved_text(const Model& model, std::string text, std::vector<std::int32_t> ids,
                     std::size_t window) {
    return {model.checkpoint->source(),
            std::move(text),
            model.config.vocab_size,
            vocabulary_key(model.tokenizer),
            static_cast<std::uint32_t>(window),
            std::move(ids)};
}

SavedLogitsWriter::SavedLogitsWriter(const std::filesystem::path& path, const SavedText& text)
    : file_(path), rows_left_(rows_of(text)) {
    buffer_ = kMagic;
    put(buffer_, kVersion);
    put(buffer_, static_cast<std::uint32_t>(text.vocab_size));
    put(buffer_, text.window);
    put(buffer_, std::uint64_t{text.ids.size()});
    buffer_.append(reinterpret_cast<const char*>(text.vocabulary.data()), text.vocabulary.size());
    put_string(buffer_, text.model);
    put_string(buffer_, text.text);
    for (auto id : text.ids) put(buffer_, id);
}

void SavedLogitsWriter::add(const SavedRow& row) {
    CACHALOT_CHECK(rows_left_ > 0);
    --rows_left_;
    const auto exact = std::span(row.kept).first(row.exact), others = std::span(row.kept).subspan(row.exact);
    put(buffer_, static_cast<float>(row.next));
    put(buffer_, static_cast<float>(row.rest));
    put(buffer_, static_cast<std::uint16_t>(exact.size()));
    put(buffer_, static_cast<std::uint32_t>(others.size()));
    for (const auto& t : exact) {
        put(buffer_, static_cast<std::uint32_t>(t.token));
        put(buffer_, static_cast<float>(t.logprob));
    }
    if (!others.empty()) {
        const auto [low, high] = std::minmax_element(
            others.begin(), others.end(), [](const auto& a, const auto& b) { return a.logprob < b.logprob; });
        const auto highest = static_cast<float>(high->logprob);
        const auto step = static_cast<float>((high->logprob - low->logprob) / 65535);
        put(buffer_, highest);
        put(buffer_, step);
        std::int32_t last = 0;
        for (const auto& t : others)
            put_varint(buffer_, static_cast<std::uint32_t>(t.token - std::exchange(last, t.token)));
        for (const auto& t : others) {
            const double steps = step > 0 ? (highest - t.logprob) / step : 0;
            put(buffer_, static_cast<std::uint16_t>(std::lround(std::clamp(steps, 0.0, 65535.0))));
        }
    }
    write_pieces(false);
}

void SavedLogitsWriter::write_pieces(bool all) {
    std::size_t done = 0;
    for (; buffer_.size() - done >= kPiece || (all && done < buffer_.size());
         done += std::min(kPiece, buffer_.size() - done)) {
        const auto piece =
            std::as_bytes(std::span(buffer_)).subspan(done, std::min(kPiece, buffer_.size() - done));
        hash_piece(hash_, piece);
        file_.write(piece);
    }
    buffer_.erase(0, done);
}

void SavedLogitsWriter::finish() {
    CACHALOT_CHECK(rows_left_ == 0);
    write_pieces(true);
    file_.write(hash_);
    file_.commit();
}

SavedLogits::SavedLogits(std::optional<MappedFile> file, std::span<const std::byte> bytes, std::string source)
    : file_(std::move(file)),
      source_(std::make_unique<const std::string>(std::move(source))),
      reader_(bytes.first(bytes.size() - std::min(bytes.size(), sizeof(Hash128))), *source_) {
    const auto magic = reader_.left() >= kMagic.size() ? bytes.first(kMagic.size()) : bytes.first(0);
    if (!std::ranges::equal(magic, std::as_bytes(std::span(kMagic))))
        fail("{}: is no baseline; perplexity or compare write one with --save-logits", *source_);
    const auto hashed = bytes.first(reader_.left());
    Hash128 hash{};
    for (std::size_t done = 0; done < hashed.size(); done += kPiece)
        hash_piece(hash, hashed.subspan(done, std::min(kPiece, hashed.size() - done)));
    reader_.take(kMagic.size(), "the magic");
    const auto version = reader_.read<std::uint32_t>("the version");
    if (version != kVersion) fail("{}: has version {}; {} is supported", *source_, version, kVersion);
    if (!std::ranges::equal(hash, bytes.subspan(hashed.size())))
        fail("{}: is damaged or incomplete (its hash does not fit)", *source_);
    read_text();
}

SavedLogits::SavedLogits(const std::filesystem::path& path)
    : SavedLogits([&] {
          MappedFile file(path);
          const auto bytes = file.bytes();
          return SavedLogits(std::move(file), bytes, path.string());
      }()) {}

SavedLogits SavedLogits::parse(std::span<const std::byte> bytes, std::string source) {
    return SavedLogits(std::nullopt, bytes, std::move(source));
}

void SavedLogits::read_text() {
    const auto vocab = reader_.read<std::uint32_t>("the size of the vocabulary");
    if (vocab < 2 || vocab > (1u << 28)) fail("{}: has a vocabulary of {}", *source_, vocab);
    text_.vocab_size = static_cast<std::int32_t>(vocab);
    text_.window = reader_.read<std::uint32_t>("the window");
    const auto tokens = reader_.read<std::uint64_t>("the number of tokens");
    if (tokens < 2 || text_.window < 2)
        fail("{}: {} tokens in windows of {}: nothing is predicted", *source_, tokens, text_.window);
    const auto key = reader_.take(sizeof(Hash128), "the hash of the vocabulary");
    std::copy(key.begin(), key.end(), text_.vocabulary.begin());
    text_.model = reader_.read_string("the model's name");
    text_.text = reader_.read_string("the text's name");
    if (tokens > reader_.left() / sizeof(std::int32_t))
        fail("{}: claims {} tokens, more than it could hold", *source_, tokens);
    text_.ids.resize(static_cast<std::size_t>(tokens));
    for (auto& id : text_.ids) id = token(reader_.read<std::uint32_t>("a token"));
    rows_ = rows_of(text_);
}

std::int32_t SavedLogits::token(std::uint64_t id) const {
    if (id >= static_cast<std::uint64_t>(text_.vocab_size))
        fail("{}: offset {}: token {} of a vocabulary of {}", *source_, reader_.offset(), id,
             text_.vocab_size);
    return static_cast<std::int32_t>(id);
}

double SavedLogits::logprob(const char* what) {
    const auto value = reader_.read<float>(what);
    if (!(value <= 1e-3f)) fail("{}: offset {}: {} is {}", *source_, reader_.offset(), what, value);
    return std::min(value, 0.0f);
}

SavedRow SavedLogits::next() {
    CACHALOT_CHECK(read_ < rows_);
    SavedRow row;
    row.next = logprob("log p of the next token");
    row.rest = logprob("log p of the rest");
    row.exact = reader_.read<std::uint16_t>("a number of tokens");
    const auto others = reader_.read<std::uint32_t>("a number of tokens");
    const auto vocab = static_cast<std::size_t>(text_.vocab_size);
    if (row.exact < 1 || row.exact > vocab || others > vocab - row.exact || others > reader_.left())
        fail("{}: offset {}: a row keeps {} + {} tokens of {}", *source_, reader_.offset(), row.exact, others,
             vocab);
    row.kept.reserve(row.exact + others);
    for (std::size_t i = 0; i < row.exact; ++i) {
        const auto id = token(reader_.read<std::uint32_t>("a token"));
        row.kept.push_back({id, logprob("a log-probability")});
    }
    if (others > 0) {
        const double highest = logprob("the highest log-probability");
        const double step = reader_.read<float>("the step");
        if (!(step >= 0 && step < 1e30))
            fail("{}: offset {}: the step is {}", *source_, reader_.offset(), step);
        std::uint64_t last = 0;
        for (std::uint32_t i = 0; i < others; ++i) {
            const auto distance = read_varint(reader_);
            if (i > 0 && distance == 0)
                fail("{}: offset {}: a token appears twice", *source_, reader_.offset());
            row.kept.push_back({token(last += distance), highest});
        }
        for (auto& t : std::span(row.kept).subspan(row.exact))
            t.logprob -= step * reader_.read<std::uint16_t>("a log-probability");
    }
    if (++read_ == rows_ && reader_.left() > 0)
        fail("{}: {} bytes follow the last row", *source_, reader_.left());
    return row;
}

}  // namespace cachalot
