// As much of SQLite as an index needs: a connection, statements, transactions.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>

#include "base/error.h"

struct sqlite3;
struct sqlite3_stmt;

namespace cachalot {

struct SqliteError : Error {
    SqliteError(int result, const std::string& message) : Error(message), code(result) {}
    int code;             // SQLITE_FULL, ...
    bool full() const;    // the disk is
    bool broken() const;  // it is the database that is to blame, and not the machine
};

class Sqlite {
  public:
    enum class Open { read, write };
    // Creates the file if it is to be written. Throws SqliteError, as all members do.
    Sqlite(const std::string& path, Open how);

    void run(const std::string& sql);  // any number of statements
    int changes() const;               // rows that the last statement changed

  private:
    friend class Statement;
    struct Close {
        void operator()(sqlite3* database) const;
    };
    [[noreturn]] void fail_with(int code) const;
    std::string path_;
    std::unique_ptr<sqlite3, Close> database_;
};

// A statement, prepared once. Bind, then step() while it is true; start() makes it ready for another time.
class Statement {
  public:
    Statement(Sqlite& database, std::string_view sql);

    // Binds the parameters in order: integers, doubles, bytes, text.
    template <class... Values>
    Statement& start(const Values&... values) {
        reset();
        int i = 0;
        (bind(++i, values), ...);
        return *this;
    }
    bool step();  // whether there is a row
    void run() {  // to the end
        while (step()) {
        }
    }
    void reset();

    std::int64_t integer(int column) const;
    double real(int column) const;
    std::span<const std::byte> bytes(int column) const;  // until the next step
    std::string text(int column) const;

  private:
    struct Finalize {
        void operator()(sqlite3_stmt* statement) const;
    };
    void bind(int i, std::int64_t value);
    void bind(int i, double value);
    void bind(int i, std::span<const std::byte> value);
    void bind(int i, const std::string& value);
    void check(int code) const;

    Sqlite& database_;
    std::unique_ptr<sqlite3_stmt, Finalize> statement_;
};

// Rolled back unless committed.
class Transaction {
  public:
    explicit Transaction(Sqlite& database) : database_(database) { database_.run("BEGIN IMMEDIATE"); }
    ~Transaction();
    Transaction(const Transaction&) = delete;
    Transaction& operator=(const Transaction&) = delete;
    void commit() {
        database_.run("COMMIT");
        done_ = true;
    }

  private:
    Sqlite& database_;
    bool done_ = false;
};

}  // namespace cachalot
