#include "file/gguf_metadata.h"

#include <cmath>
#include <limits>
#include <type_traits>
#include <utility>
#include <variant>

#include "base/error.h"
#include "file/in_quotes.h"

namespace cachalot {
namespace {

constexpr std::uint64_t kMaxKeys = 1 << 16;
constexpr std::uint64_t kMaxKeyLength = 1 << 16;
constexpr std::uint64_t kMaxArray = 1 << 24;  // elements; the vocabulary has 130,000

GgufType read_type(ByteReader& reader, std::string_view source, std::string_view key) {
    const auto number = reader.read<std::uint32_t>("the type of a value");
    if (number >= kGgufTypes) fail("{}: key {} has the unknown type {}", source, in_quotes(key), number);
    return static_cast<GgufType>(number);
}

GgufValue read_value(ByteReader& reader, std::string_view source) {
    GgufValue value;
    const auto key = reader.read_string("a key");
    if (key.size() > kMaxKeyLength) fail("{}: key {} is {} bytes long", source, in_quotes(key), key.size());
    value.key = key;
    value.type = read_type(reader, source, key);
    if (value.type == GgufType::array) {
        value.is_array = true;
        value.type = read_type(reader, source, key);
        if (value.type == GgufType::array) fail("{}: key {} is an array of arrays", source, in_quotes(key));
        value.count = reader.read<std::uint64_t>("the length of an array");
        if (value.count > kMaxArray)
            fail("{}: key {} claims {} elements", source, in_quotes(key), value.count);
    }
    ByteReader ahead = reader;
    if (value.type == GgufType::string) {
        for (std::uint64_t i = 0; i < value.count; ++i) ahead.read_string(key);
    } else {
        ahead.take(value.count * encoded_size(value.type), key);  // at most 2^24 * 8
    }
    value.bytes = reader.take(ahead.offset() - reader.offset(), key);
    return value;
}

using Element = std::variant<std::uint64_t, std::int64_t, double, bool, std::string_view>;

Element read_element(ByteReader& reader, GgufType type, std::string_view key) {
    switch (type) {
        case GgufType::u8: return std::uint64_t{reader.read<std::uint8_t>(key)};
        case GgufType::i8: return std::int64_t{reader.read<std::int8_t>(key)};
        case GgufType::u16: return std::uint64_t{reader.read<std::uint16_t>(key)};
        case GgufType::i16: return std::int64_t{reader.read<std::int16_t>(key)};
        case GgufType::u32: return std::uint64_t{reader.read<std::uint32_t>(key)};
        case GgufType::i32: return std::int64_t{reader.read<std::int32_t>(key)};
        case GgufType::u64: return reader.read<std::uint64_t>(key);
        case GgufType::i64: return reader.read<std::int64_t>(key);
        case GgufType::f32: return double{reader.read<float>(key)};
        case GgufType::f64: return reader.read<double>(key);
        case GgufType::boolean: return reader.read<std::uint8_t>(key) != 0;
        case GgufType::string: return reader.read_string(key);
        case GgufType::array: break;
    }
    CACHALOT_CHECK(false);
}

template <class T>
constexpr std::string_view kExpected = std::is_same_v<T, bool>               ? "a boolean"
                                       : std::is_same_v<T, std::string_view> ? "a string"
                                       : std::is_integral_v<T>               ? "an integer"
                                                                             : "a number";

template <class T>
T convert(const Element& element, std::string_view source, const GgufValue& value) {
    const auto out_of_range = [&](auto number) {
        fail("{}: key {}: {} is out of range", source, in_quotes(value.key), number);
    };
    return std::visit(
        [&](auto x) -> T {
            using X = decltype(x);
            if constexpr (std::is_same_v<X, T>) {
                return x;
            } else if constexpr (std::is_same_v<T, bool> || std::is_same_v<X, bool> ||
                                 std::is_same_v<T, std::string_view> || std::is_same_v<X, std::string_view>) {
                fail("{}: key {} is {}, expected {}", source, in_quotes(value.key), type_text(value),
                     kExpected<T>);
            } else if constexpr (std::is_integral_v<T>) {
                if constexpr (std::is_integral_v<X>) {
                    if (!std::in_range<T>(x)) out_of_range(x);
                    return static_cast<T>(x);
                } else {
                    fail("{}: key {} is {}, expected {}", source, in_quotes(value.key), type_text(value),
                         kExpected<T>);
                }
            } else {
                if constexpr (std::is_same_v<X, double>)
                    if (std::isfinite(x) && std::abs(x) > std::numeric_limits<T>::max()) out_of_range(x);
                return static_cast<T>(x);
            }
        },
        element);
}

template <class T>
struct IsVector : std::false_type {};
template <class T>
struct IsVector<std::vector<T>> : std::true_type {};

}  // namespace

GgufMetadata::GgufMetadata(ByteReader& reader, std::uint64_t count, std::string source)
    : source_(std::move(source)) {
    constexpr std::uint64_t kSmallestKey = 8 + 4 + 1;  // empty name, type, one byte
    if (count > kMaxKeys || count > reader.left() / kSmallestKey)
        fail("{}: claims {} metadata keys, more than it could hold", source_, count);
    for (std::uint64_t i = 0; i < count; ++i) {
        values_.push_back(read_value(reader, source_));
        const std::string& key = values_.back().key;
        if (!by_key_.emplace(key, i).second) fail("{}: key {} appears twice", source_, in_quotes(key));
    }
}

const GgufValue* GgufMetadata::value(std::string_view key) const {
    const auto found = by_key_.find(key);
    return found == by_key_.end() ? nullptr : &values_[found->second];
}

void GgufMetadata::missing(std::string_view key) const {
    fail("{}: key {} is missing", source_, in_quotes(key));
}

template <class T>
std::optional<T> GgufMetadata::find(std::string_view key) const {
    const GgufValue* found = value(key);
    if (!found) return std::nullopt;
    constexpr bool want_array = IsVector<T>::value;
    if (found->is_array != want_array)
        fail("{}: key {} is {}, expected {}", source_, in_quotes(key), type_text(*found),
             want_array ? "an array" : "a single value");
    ByteReader reader(found->bytes, source_);
    if constexpr (want_array) {
        T result;
        result.reserve(found->count);
        for (std::uint64_t i = 0; i < found->count; ++i)
            result.push_back(
                convert<typename T::value_type>(read_element(reader, found->type, key), source_, *found));
        return result;
    } else {
        return convert<T>(read_element(reader, found->type, key), source_, *found);
    }
}

template std::optional<std::int32_t> GgufMetadata::find(std::string_view) const;
template std::optional<std::uint32_t> GgufMetadata::find(std::string_view) const;
template std::optional<std::int64_t> GgufMetadata::find(std::string_view) const;
template std::optional<std::uint64_t> GgufMetadata::find(std::string_view) const;
template std::optional<float> GgufMetadata::find(std::string_view) const;
template std::optional<double> GgufMetadata::find(std::string_view) const;
template std::optional<bool> GgufMetadata::find(std::string_view) const;
template std::optional<std::string_view> GgufMetadata::find(std::string_view) const;
template std::optional<std::vector<std::int32_t>> GgufMetadata::find(std::string_view) const;
template std::optional<std::vector<std::uint32_t>> GgufMetadata::find(std::string_view) const;
template std::optional<std::vector<std::int64_t>> GgufMetadata::find(std::string_view) const;
template std::optional<std::vector<std::uint64_t>> GgufMetadata::find(std::string_view) const;
template std::optional<std::vector<float>> GgufMetadata::find(std::string_view) const;
template std::optional<std::vector<double>> GgufMetadata::find(std::string_view) const;
template std::optional<std::vector<std::string_view>> GgufMetadata::find(std::string_view) const;

std::string type_text(const GgufValue& value) {
    if (!value.is_array) return std::string(name(value.type));
    return fmt::format("{}[{}]", name(value.type), value.count);
}

std::string value_text(const GgufValue& value, std::size_t max_items) {
    ByteReader reader(value.bytes, value.key);
    std::string text;
    for (std::uint64_t i = 0; i < value.count; ++i) {
        if (i > 0) text += ", ";
        if (i == max_items) {
            text += "...";
            break;
        }
        const Element element = read_element(reader, value.type, value.key);
        text += std::visit(
            [&](auto x) {
                if constexpr (std::is_same_v<decltype(x), std::string_view>)
                    return in_quotes(x);
                else if constexpr (std::is_same_v<decltype(x), double>)
                    return value.type == GgufType::f32 ? fmt::format("{}", static_cast<float>(x))
                                                       : fmt::format("{}", x);
                else
                    return fmt::format("{}", x);
            },
            element);
    }
    return value.is_array ? "[" + text + "]" : text;
}

}  // namespace cachalot
