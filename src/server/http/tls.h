// The server's certificate and key. OpenSSL is optional when Cachalot is built; without it TLS is refused
// with an error.
#pragma once

#include <memory>
#include <string>

#ifdef CACHALOT_TLS
#include <boost/asio/ssl/context.hpp>
#endif

namespace cachalot::server {

#ifdef CACHALOT_TLS
using TlsContext = boost::asio::ssl::context;
#else
struct TlsContext {};
#endif

// TLS 1.2 and newer. Throws Error naming the file that cannot be used.
std::shared_ptr<TlsContext> make_tls_context(const std::string& certificate, const std::string& key);

}  // namespace cachalot::server
