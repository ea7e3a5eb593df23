#include "text/tokenizer.h"

#include <algorithm>
#include <bit>
#include <functional>
#include <limits>
#include <utility>

#include "base/error.h"
#include "text/pretokenizer.h"
#include "text/tokenizer_alphabet.h"

namespace cachalot {
namespace {

// Generous for any tokenizer of this family (129,280 tokens of at most 128 bytes) and small enough that a
// hostile file cannot make us slow: the time to look for special tokens grows with the length of the longest.
constexpr std::size_t kMaxTokens = std::size_t{1} << 20;
constexpr std::size_t kMaxMerges = std::size_t{1} << 21;
constexpr std::size_t kMaxTokenBytes = 4096;
constexpr std::size_t kMaxSpecialBytes = 256;

// A file could choose texts that all hash alike, and make every look-up slow; chance does not get near this.
constexpr std::size_t kMaxBucketSize = 64;

// Pieces whose tokens are remembered within one call, so that the frequent words of a text are merged once.
constexpr std::size_t kMaxRememberedBytes = 64;
constexpr std::size_t kMaxRememberedPieces = 4096;

// A whole token, in the units of byte_shares_. Sums over 4 GiB of text do not overflow.
constexpr std::uint64_t kWholeToken = std::uint64_t{1} << 31;

bool is_special_type(int type) {
    return type == static_cast<int>(TokenType::control) || type == static_cast<int>(TokenType::user_defined);
}

// Whether merges may use the token.
bool is_ordinary_type(int type) {
    return type == static_cast<int>(TokenType::normal) || type == static_cast<int>(TokenType::byte);
}

}  // namespace

Tokenizer::Tokenizer(TokenizerData data, std::string source)
    : data_(std::move(data)), source_(std::move(source)) {
    read_tokens();
    read_merges();
}

void Tokenizer::read_tokens() {
    const std::size_t count = data_.tokens.size();
    if (count == 0 || count > kMaxTokens)
        fail("{}: the tokenizer has {} tokens; 1 to {} are possible", source_, count, kMaxTokens);
    if (data_.types.size() != count)
        fail("{}: the tokenizer has {} tokens but {} token types", source_, count, data_.types.size());

    bytes_.reserve(count);
    ids_.reserve(count);
    for (std::size_t i = 0; i < count; ++i) {
        const std::string& text = data_.tokens[i];
        const int type = data_.types[i];
        const bool special = is_special_type(type);
        if (type < static_cast<int>(TokenType::normal) || type > static_cast<int>(TokenType::byte))
            fail("{}: token {} has the unknown type {}", source_, i, type);
        if (text.empty()) fail("{}: token {} is empty", source_, i);
        if (text.size() > (special ? kMaxSpecialBytes : kMaxTokenBytes))
            fail("{}: token {} is {} bytes long, too long to be one", source_, i, text.size());
        const auto id = static_cast<std::int32_t>(i);
        const auto [other, is_new] = ids_.emplace(text, id);
        if (!is_new) fail("{}: tokens {} and {} have the same text", source_, other->second, i);
        if (ids_.bucket_size(ids_.bucket(text)) > kMaxBucketSize)
            fail("{}: the texts of too many tokens have the same hash", source_);

        if (special) {
            specials_.push_back({text, id});
            starts_special_[static_cast<unsigned char>(text[0])] = true;
            bytes_.push_back(text);
        } else {
            // A token that is not written in the alphabet cannot come from text; it decodes to what it says.
            bytes_.push_back(from_byte_alphabet(text).value_or(text));
        }
    }
    std::sort(specials_.begin(), specials_.end(),
              [](const Special& a, const Special& b) { return a.text < b.text; });

    for (std::size_t b = 0; b < byte_ids_.size(); ++b) {
        const auto found = ids_.find(to_byte_alphabet(std::string(1, static_cast<char>(b))));
        if (found == ids_.end() || !is_ordinary_type(data_.types[static_cast<std::size_t>(found->second)]))
            fail("{}: the tokenizer has no token for the byte 0x{:02X}", source_, b);
        byte_ids_[b] = found->second;
    }
    std::array<std::uint64_t, 256> longest{};  // token with a byte
    for (std::size_t i = 0; i < count; ++i) {
        if (!is_ordinary_type(data_.types[i])) continue;
        for (const char c : bytes_[i]) {
            std::uint64_t& length = longest[static_cast<unsigned char>(c)];
            length = std::max<std::uint64_t>(length, bytes_[i].size());
        }
    }
    for (std::size_t b = 0; b < longest.size(); ++b) byte_shares_[b] = kWholeToken / longest[b];
    for (const auto& [name, id] : {std::pair("beginning", data_.bos), std::pair("end", data_.eos)}) {
        if (id < 0 || id >= size())
            fail("{}: the {}-of-sequence token {} is not below {}", source_, name, id, count);
        if (!is_special(id))
            fail("{}: the {}-of-sequence token {} is not a special token", source_, name, id);
    }
}

void Tokenizer::read_merges() {
    if (data_.merges.size() > kMaxMerges)
        fail("{}: the tokenizer has {} merges; at most {} are possible", source_, data_.merges.size(),
             kMaxMerges);
    const auto ordinary = [&](std::size_t rank, std::string_view text, std::string_view what) {
        const auto found = ids_.find(text);
        if (found == ids_.end()) fail("{}: the {} of merge {} is not in the vocabulary", source_, what, rank);
        if (!is_ordinary_type(data_.types[static_cast<std::size_t>(found->second)]))
            fail("{}: the {} of merge {} is token {}, which is not an ordinary token", source_, what, rank,
                 found->second);
        return found->second;
    };
    std::vector<Merge> merges;
    std::vector<std::pair<std::int32_t, std::int32_t>> pairs;
    merges.reserve(data_.merges.size());
    pairs.reserve(data_.merges.size());
    std::string result;
    for (std::size_t rank = 0; rank < data_.merges.size(); ++rank) {
        const std::string_view text = data_.merges[rank];
        const std::size_t space = text.find(' ');
        if (space == std::string_view::npos)
            fail("{}: merge {} is not two tokens with a space between them", source_, rank);
        const std::string_view left = text.substr(0, space), right = text.substr(space + 1);
        result.assign(left).append(right);
        merges.push_back({ordinary(rank, left, "left part"), ordinary(rank, right, "right part"),
                          ordinary(rank, result, "result")});
        pairs.emplace_back(merges.back().left, merges.back().right);
    }
    std::sort(pairs.begin(), pairs.end());
    if (const auto twice = std::adjacent_find(pairs.begin(), pairs.end()); twice != pairs.end())
        fail("{}: there are two merges of the tokens {} and {}", source_, twice->first, twice->second);
    merges_ = MergeTable(std::move(merges), data_.tokens.size());
}

std::vector<std::int32_t> Tokenizer::encode(std::string_view text, SpecialTokens mode) const {
    const TextPart part{std::string(text), mode};
    return encode_parts({&part, 1});
}

std::vector<std::int32_t> Tokenizer::encode_parts(std::span<const TextPart> parts) const {
    return *encode_at_most(std::numeric_limits<std::size_t>::max(), parts);
}

std::optional<std::vector<std::int32_t>> Tokenizer::encode_at_most(std::size_t most,
                                                                   std::span<const TextPart> parts) const {
    std::vector<std::int32_t> ids;
    std::string run;  // ordinary text since the last special token
    for (const TextPart& part : parts) {
        std::string_view rest = part.text;
        if (part.mode == SpecialTokens::parse) {
            while (const std::optional<SpecialMatch> special = next_special(rest)) {
                run.append(rest.substr(0, special->begin));
                if (!encode_ordinary(run, most, ids) || ids.size() == most) return std::nullopt;
                run.clear();
                ids.push_back(special->id);
                rest.remove_prefix(special->begin + special->length);
            }
        }
        run.append(rest);
    }
    if (!encode_ordinary(run, most, ids)) return std::nullopt;
    return ids;
}

// A byte's share of a token is one over the length of the longest token that has this byte, rounded down. So
// the shares of a token's bytes add up to no more than one.
std::size_t Tokenizer::least_tokens(std::string_view text) const {
    std::uint64_t shares = 0;
    for (const char c : text) shares += byte_shares_[static_cast<unsigned char>(c)];
    return static_cast<std::size_t>((shares + kWholeToken - 1) / kWholeToken);
}

// The specials that share the first n bytes with the text at some place are neighbours in the sorted list;
// the list is narrowed byte by byte until none is left. One that has been matched to its end is first among
// them.
std::optional<Tokenizer::SpecialMatch> Tokenizer::next_special(std::string_view text) const {
    for (std::size_t begin = 0; begin < text.size(); ++begin) {
        if (!starts_special_[static_cast<unsigned char>(text[begin])]) continue;
        std::optional<SpecialMatch> longest;
        auto low = specials_.begin(), high = specials_.end();
        for (std::size_t n = 0; begin + n < text.size() && low != high; ++n) {
            const auto byte = static_cast<unsigned char>(text[begin + n]);
            const auto at_n = [n](const Special& s) { return static_cast<unsigned char>(s.text[n]); };
            low = std::partition_point(low, high, [&](const Special& s) { return at_n(s) < byte; });
            high = std::partition_point(low, high, [&](const Special& s) { return at_n(s) == byte; });
            if (low != high && low->text.size() == n + 1) {
                longest = SpecialMatch{begin, n + 1, low->id};
                ++low;
            }
        }
        if (longest) return longest;
    }
    return std::nullopt;
}

// Returns false if `ids` would become more than `most`; they are of no use then.
bool Tokenizer::encode_ordinary(std::string_view text, std::size_t most,
                                std::vector<std::int32_t>& ids) const {
    if (text.empty()) return true;
    if (least_tokens(text) > most - ids.size()) return false;
    struct Remembered {
        std::string_view piece;
        std::size_t begin, end;  // its tokens are ids[begin, end)
    };
    // One place for each hash, the newest piece wins: no text can make look-ups slow.
    std::vector<Remembered> memory(std::bit_ceil(std::min(kMaxRememberedPieces, text.size())));
    Merger merger(merges_);
    std::vector<std::int32_t> bytes;
    pretokenize(text, [&](std::string_view piece) {
        Remembered& seen = memory[std::hash<std::string_view>()(piece) & (memory.size() - 1)];
        const std::size_t begin = ids.size();
        if (seen.piece == piece) {
            for (std::size_t i = seen.begin; i < seen.end; ++i) ids.push_back(ids[i]);
        } else {
            bytes.clear();
            for (const char c : piece) bytes.push_back(byte_ids_[static_cast<unsigned char>(c)]);
            merger.merge(bytes, ids);
            if (piece.size() <= kMaxRememberedBytes) seen = {piece, begin, ids.size()};
        }
        return ids.size() <= most;
    });
    return ids.size() <= most;
}

std::size_t Tokenizer::checked(std::int32_t id) const {
    if (id < 0 || id >= size()) fail("{}: there is no token {}; the vocabulary has {}", source_, id, size());
    return static_cast<std::size_t>(id);
}

std::string Tokenizer::decode(std::span<const std::int32_t> ids) const {
    std::string text;
    for (const std::int32_t id : ids) text.append(bytes(id));
    return text;
}

const std::string& Tokenizer::bytes(std::int32_t id) const { return bytes_[checked(id)]; }

bool Tokenizer::is_special(std::int32_t id) const { return is_special_type(data_.types[checked(id)]); }

std::optional<std::int32_t> Tokenizer::find(std::string_view text) const {
    // Special tokens are listed verbatim, all others in the alphabet.
    for (const std::string& listed : {std::string(text), to_byte_alphabet(text)}) {
        const auto found = ids_.find(listed);
        if (found != ids_.end() && bytes(found->second) == text) return found->second;
    }
    return std::nullopt;
}

}  // namespace cachalot
