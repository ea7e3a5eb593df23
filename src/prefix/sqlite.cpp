#include "prefix/sqlite.h"

#include <sqlite3.h>

namespace cachalot {

bool SqliteError::full() const { return (code & 0xff) == SQLITE_FULL; }

bool SqliteError::broken() const {
    switch (code & 0xff) {
        case SQLITE_BUSY:
        case SQLITE_FULL:
        case SQLITE_IOERR:
        case SQLITE_LOCKED:
        case SQLITE_NOMEM:
        case SQLITE_PERM: return false;
    }
    return true;
}

void Sqlite::Close::operator()(sqlite3* database) const { sqlite3_close_v2(database); }

Sqlite::Sqlite(const std::string& path, Open how) : path_(path) {
    sqlite3* database = nullptr;
    const int flags = how == Open::read ? SQLITE_OPEN_READONLY : SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE;
    const int code = sqlite3_open_v2(path.c_str(), &database, flags | SQLITE_OPEN_NOMUTEX, nullptr);
    database_.reset(database);
    if (code != SQLITE_OK) fail_with(code);
    sqlite3_extended_result_codes(database, 1);
    sqlite3_busy_timeout(database, 2000);
    // What the file says about its own structure is believed as little as what it says about states.
    sqlite3_db_config(database, SQLITE_DBCONFIG_DEFENSIVE, 1, nullptr);
    sqlite3_db_config(database, SQLITE_DBCONFIG_TRUSTED_SCHEMA, 0, nullptr);
}

void Sqlite::fail_with(int code) const {
    throw SqliteError(code, fmt::format("{}: {}", path_,
                                        database_ ? sqlite3_errmsg(database_.get()) : sqlite3_errstr(code)));
}

void Sqlite::run(const std::string& sql) {
    if (int code = sqlite3_exec(database_.get(), sql.c_str(), nullptr, nullptr, nullptr); code != SQLITE_OK)
        fail_with(code);
}

int Sqlite::changes() const { return sqlite3_changes(database_.get()); }

void Statement::Finalize::operator()(sqlite3_stmt* statement) const { sqlite3_finalize(statement); }

Statement::Statement(Sqlite& database, std::string_view sql) : database_(database) {
    sqlite3_stmt* statement = nullptr;
    check(sqlite3_prepare_v3(database.database_.get(), sql.data(), static_cast<int>(sql.size()),
                             SQLITE_PREPARE_PERSISTENT, &statement, nullptr));
    statement_.reset(statement);
}

void Statement::check(int code) const {
    if (code != SQLITE_OK) database_.fail_with(code);
}

void Statement::reset() {
    sqlite3_reset(statement_.get());  // tells again of an error that has been thrown already
    sqlite3_clear_bindings(statement_.get());
}

bool Statement::step() {
    const int code = sqlite3_step(statement_.get());
    if (code == SQLITE_ROW) return true;
    sqlite3_reset(statement_.get());  // else the transaction that it reads in would stay open
    if (code != SQLITE_DONE) database_.fail_with(code);
    return false;
}

void Statement::bind(int i, std::int64_t value) { check(sqlite3_bind_int64(statement_.get(), i, value)); }
void Statement::bind(int i, double value) { check(sqlite3_bind_double(statement_.get(), i, value)); }
void Statement::bind(int i, std::span<const std::byte> value) {
    check(sqlite3_bind_blob64(statement_.get(), i, value.data(), value.size(), SQLITE_TRANSIENT));
}
void Statement::bind(int i, const std::string& value) {
    check(sqlite3_bind_text(statement_.get(), i, value.data(), static_cast<int>(value.size()),
                            SQLITE_TRANSIENT));
}

std::int64_t Statement::integer(int column) const { return sqlite3_column_int64(statement_.get(), column); }
double Statement::real(int column) const { return sqlite3_column_double(statement_.get(), column); }

std::span<const std::byte> Statement::bytes(int column) const {
    auto data = static_cast<const std::byte*>(sqlite3_column_blob(statement_.get(), column));
    return {data, static_cast<std::size_t>(sqlite3_column_bytes(statement_.get(), column))};
}

std::string Statement::text(int column) const {
    auto data = bytes(column);
    return {reinterpret_cast<const char*>(data.data()), data.size()};
}

Transaction::~Transaction() {
    if (done_) return;
    try {
        database_.run("ROLLBACK");
    } catch (const SqliteError&) {  // it has been rolled back already
    }
}

}  // namespace cachalot
