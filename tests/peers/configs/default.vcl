vcl 4.1;
backend model { .host = "127.0.0.1"; .port = "@upstream"; }
sub vcl_recv {
    if (req.http.upgrade ~ "(?i)^websocket$") { return (pipe); }
    return (pass);
}
sub vcl_pipe { set bereq.http.connection = req.http.connection; set bereq.http.upgrade = req.http.upgrade; }
