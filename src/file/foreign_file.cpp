#include "file/foreign_file.h"

#include <fmt/format.h>

#include <algorithm>
#include <cctype>
#include <cstdint>
#include <cstring>
#include <string_view>

#include "text/utf8.h"

namespace cachalot {
namespace {

using namespace std::string_view_literals;

constexpr std::size_t kLooked = 1024;

struct Beginning {
    std::string_view bytes;
    const char* what;
};

// In this order: a longer beginning stands before one that it begins with.
constexpr Beginning kBeginnings[] = {
    {"version https://git-lfs.github.com/spec/"sv,
     "is a pointer of Git LFS and not the file itself; run `git lfs pull` in its folder"},
    {"version https://hawser.github.com/spec/"sv,
     "is a pointer of Git LFS and not the file itself; run `git lfs pull` in its folder"},
    {"PK\3\4"sv,
     "is a ZIP archive, as PyTorch's .bin and .pt files are; get the model as GGUF or safetensors"},
    {"\x80\2"sv, "is a pickle of PyTorch (.bin, .pt); get the model as GGUF or safetensors"},
    {"\x80\3"sv, "is a pickle of PyTorch (.bin, .pt); get the model as GGUF or safetensors"},
    {"\x80\4"sv, "is a pickle of PyTorch (.bin, .pt); get the model as GGUF or safetensors"},
    {"\x80\5"sv, "is a pickle of PyTorch (.bin, .pt); get the model as GGUF or safetensors"},
    {"\x89HDF\r\n"sv, "is an HDF5 file; get the model as GGUF or safetensors"},
    {"\x1f\x8b"sv, "is compressed with gzip; unpack it first"},
    {"\xfd\x37zXZ"sv, "is compressed with xz; unpack it first"},
    {"\x28\xb5\x2f\xfd"sv, "is compressed with zstd; unpack it first"},
    {"BZh"sv, "is compressed with bzip2; unpack it first"},
    {"7z\xbc\xaf"sv, "is a 7-Zip archive; unpack it first"},
    {"Rar!"sv, "is a RAR archive; unpack it first"},
    {"%PDF"sv, "is a PDF document; choose the model's file"},
    {"\x7f"
     "ELF"sv,
     "is a program; choose the model's file"},
    {"lmgg"sv, "is a model in the format before GGUF, GGML; get it as GGUF"},
    {"fmgg"sv, "is a model in the format before GGUF, GGML; get it as GGUF"},
    {"tjgg"sv, "is a model in the format before GGUF, GGJT; get it as GGUF"},
    {"algg"sv, "is a LoRA adapter in the format before GGUF; choose the model's file"},
    {"GGUF"sv, "is a GGUF file; give the file itself, not a folder with safetensors"},
    {"CCPACK"sv,
     "is a pack of experts (convert --pack); "
     "give the model that it was made from, and this file with --expert-pack"},
    {"CLOGPROB"sv, "holds saved predictions (--save-logits); give it to compare --baseline"},
    {"CCHROUTE"sv, "is a trace of routes (--route-trace); give it to cache-sim"},
    {"CCHEAT"sv, "holds rates of experts (--expert-heat); choose the model's file"},
    {"CCDRAFT"sv, "says what drafts are worth (--expert-heat); choose the model's file"},
    {"{\"cachalot_eval\""sv, "is a state of eval; give it with --state or --against"},
};

std::string_view head_of(std::span<const std::byte> bytes) {
    return {reinterpret_cast<const char*>(bytes.data()), std::min(bytes.size(), kLooked)};
}

std::string_view without_space(std::string_view text) {
    if (text.starts_with("\xef\xbb\xbf")) text.remove_prefix(3);
    while (!text.empty() && std::isspace(static_cast<unsigned char>(text.front()))) text.remove_prefix(1);
    return text;
}

bool begins_with_word(std::string_view text, std::string_view word) {
    return text.size() >= word.size() &&
           std::equal(word.begin(), word.end(), text.begin(),
                      [](char a, char b) { return a == std::tolower(static_cast<unsigned char>(b)); });
}

// The header's length and a JSON object with an entry that only safetensors have.
bool is_safetensors(std::string_view head) {
    std::uint64_t length = 0;
    if (head.size() <= sizeof length || head[sizeof length] != '{') return false;
    std::memcpy(&length, head.data(), sizeof length);
    return length > 1 && length < (std::uint64_t(1) << 32) &&
           (head.find("\"dtype\"") != head.npos || head.find("__metadata__") != head.npos);
}

bool is_text(std::string_view head) {
    const std::size_t cut =
        head.size() < kLooked ? 0 : 3;  // bytes of a character at the end of what is looked at
    if (head.size() - valid_utf8_prefix(head) > cut) return false;
    return std::all_of(head.begin(), head.end(), [](char c) {
        const auto byte = static_cast<unsigned char>(c);
        return byte >= ' ' || byte == '\n' || byte == '\r' || byte == '\t' || byte == '\f';
    });
}

}  // namespace

std::string known_format(std::span<const std::byte> bytes) {
    const std::string_view head = head_of(bytes);
    if (head.empty()) return "is empty; download or copy it again";
    for (const auto& known : kBeginnings)
        if (head.starts_with(known.bytes)) return known.what;
    if (std::all_of(head.begin(), head.end(), [](char c) { return c == 0; }))
        return "begins with nothing but zeros, as a download that did not finish; download or copy it again";
    if (head.size() > 262 && head.substr(257, 5) == "ustar") return "is a tar archive; unpack it first";
    if (is_safetensors(head))
        return "is a file of weights alone (safetensors); "
               "give the folder that has config.json and tokenizer.json beside it";
    if (!is_text(head)) return {};
    for (const auto word : {"<!doctype html"sv, "<html"sv, "<head"sv, "<!--"sv, "<body"sv})
        if (begins_with_word(without_space(head), word))
            return "is a web page (HTML) and no model: the link led to a page; "
                   "use the link of the download itself "
                   "(on Hugging Face it has /resolve/ where that of the page has /blob/)";
    return {};
}

std::string foreign_file(std::span<const std::byte> bytes) {
    if (auto known = known_format(bytes); !known.empty()) return known;
    const std::string_view head = head_of(bytes);
    if (!is_text(head)) return {};
    const std::string_view text = without_space(head);
    if (text.starts_with("<?xml") || text.starts_with("<"))
        return "is XML and no model, perhaps a server's message of an error; download it again";
    if (text.starts_with("{") || text.starts_with("["))
        return "is JSON and no model; of a release give the folder, "
               "and if it is a server's message of an error, download it again";
    return "is text and no model, perhaps a server's message of an error; "
           "look into it, and download it again";
}

std::string unfinished_name(const std::string& path) {
    for (const auto ending :
         {".partial", ".part", ".crdownload", ".incomplete", ".download", ".aria2", ".tmp"})
        if (path.ends_with(ending))
            return fmt::format(
                " (its name ends in {}: it is unfinished; the command or download that made it has to go on)",
                ending);
    return {};
}

}  // namespace cachalot
