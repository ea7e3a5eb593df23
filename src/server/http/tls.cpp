#include "server/http/tls.h"

#include <unistd.h>

#include <cerrno>
#include <system_error>

#include "base/error.h"
#include "file/text_file.h"

#ifdef CACHALOT_TLS
#include <openssl/ssl.h>
#endif

namespace cachalot::server {

#ifdef CACHALOT_TLS
namespace {
constexpr std::uintmax_t kMaxPem = 1 << 20;  // bytes of a certificate's chain or of a key
}
#endif

std::shared_ptr<TlsContext> make_tls_context(const std::string& certificate, const std::string& key) {
    if (certificate.empty() || key.empty()) fail("TLS needs both a certificate and its key");
#ifdef CACHALOT_TLS
    namespace ssl = boost::asio::ssl;
    auto context = std::make_shared<TlsContext>(ssl::context::tls_server);
    for (const auto& file : {certificate, key})  // OpenSSL's message would not say it
        if (::access(file.c_str(), R_OK) != 0)
            fail("{}: cannot be opened: {}", file, std::generic_category().message(errno));
    boost::system::error_code error;
    SSL_CTX_set_min_proto_version(context->native_handle(), TLS1_2_VERSION);
    SSL_CTX_set_options(context->native_handle(), SSL_OP_NO_RENEGOTIATION);
    // A password would be asked for on the terminal, where nobody may be.
    context->set_password_callback([](std::size_t, ssl::context::password_purpose) { return std::string(); },
                                   error);
    const std::string chain = read_text_input(certificate, kMaxPem), secret = read_text_input(key, kMaxPem);
    context->use_certificate_chain(boost::asio::buffer(chain), error);
    if (error) fail("{}: not a certificate in PEM format: {}", certificate, error.message());
    context->use_private_key(boost::asio::buffer(secret), ssl::context::pem, error);
    if (error)
        fail("{}: not a private key in PEM format, or not that of {}: {}", key, certificate, error.message());
    return context;
#else
    fail("this program was built without OpenSSL: no TLS (put a proxy in front, or build it with OpenSSL)");
#endif
}

}  // namespace cachalot::server
