// The thread of a link.
#pragma once

#include <functional>
#include <thread>

#include <boost/asio/executor_work_guard.hpp>
#include <boost/asio/io_context.hpp>

namespace ftvmm::pair {

// Runs an io_context from here until its end; what is posted then still waits is dropped.
class IoLoop {
  public:
    IoLoop();
    IoLoop(const IoLoop&) = delete;
    IoLoop& operator=(const IoLoop&) = delete;
    ~IoLoop();

    [[nodiscard]] boost::asio::io_context& io() { return io_; }
    // Calls `call` on the loop's thread, soon. Any thread.
    void post(std::function<void()> call);
    // The same, and waits for its end. Not from the loop's thread.
    void run(const std::function<void()>& call);

  private:
    boost::asio::io_context io_{1};
    boost::asio::executor_work_guard<boost::asio::io_context::executor_type> work_;
    std::thread thread_;
};

}  // namespace ftvmm::pair
