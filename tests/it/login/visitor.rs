use std::collections::BTreeMap;

use orders_testkit::Daemon;
use reqwest::{Method, StatusCode, Url, header, redirect};

/// More than any login takes.
const MOST_STEPS: usize = 20;

/// Somebody without a browser, who keeps cookies, goes where pages lead, and fills in the forms of the provider.
#[derive(Clone)]
pub(crate) struct Visitor {
    http: reqwest::Client,
    /// The URL of the pages.
    home: String,
    /// The URL of what answers there, one of several instances.
    instance: String,
    /// Cookies by the origin that has set them.
    cookies: BTreeMap<String, BTreeMap<String, String>>,
}

/// An answer as it came.
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) body: String,
    url: Url,
    /// Where it leads on its own.
    next: Option<Url>,
}

impl Visitor {
    /// One who visits the pages at `home`, a URL without a slash at its end.
    pub(crate) fn of(home: &str) -> Self {
        let http = reqwest::Client::builder().redirect(redirect::Policy::none());
        Self {
            http: http.build().unwrap(),
            home: home.to_owned(),
            instance: home.to_owned(),
            cookies: BTreeMap::new(),
        }
    }

    /// Is sent to `instance`, as by a load balancer.
    pub(crate) fn via(self, instance: &Daemon) -> Self {
        Self {
            instance: instance.url(),
            ..self
        }
    }

    /// Logs in at the provider, to which the pages lead.
    pub(crate) async fn log_in(&mut self, name: &str, password: &str) {
        let form = self.follow(&format!("{}/orders", self.home)).await;
        assert!(form.body.contains("name=\"password\""), "{}", form.body);
        let filled = [("name", name), ("password", password)];
        let answer = self.send(Method::POST, &form.url, &[], &filled).await;
        let next = answer.next.unwrap_or_else(|| panic!("{}", answer.body));
        let page = self.follow(next.as_str()).await;
        let url = page.url.as_str();
        assert!(url.starts_with(&self.home), "{url}: {}", page.body);
        assert!(self.has_session(), "{url}: {}", page.body);
    }

    /// Logs out at the provider itself, which tells the pages.
    pub(crate) async fn log_out_at(&mut self, issuer: &str) {
        let page = self.get(&format!("{issuer}/session/end"), &[]).await;
        let secret = page.body.split("name=\"xsrf\" value=\"").nth(1);
        let secret = secret.and_then(|rest| rest.split('"').next());
        let secret = secret.unwrap_or_else(|| panic!("no form: {}", page.body));
        let confirm = format!("{issuer}/session/end/confirm").parse().unwrap();
        let form = [("xsrf", secret), ("logout", "yes")];
        let answer = self.send(Method::POST, &confirm, &[], &form).await;
        assert_eq!(answer.status, StatusCode::SEE_OTHER, "{}", answer.body);
    }

    /// Presses the button on the pages.
    pub(crate) async fn log_out(&mut self) {
        let url = format!("{}/logout", self.home).parse().unwrap();
        let answer = self.send(Method::POST, &url, &[], &[]).await;
        assert_eq!(answer.status, StatusCode::OK, "{}", answer.body);
    }

    /// What `instance` answers to somebody who has kept the cookies of this visitor.
    pub(crate) async fn ask(&self, instance: &Daemon, path: &str) -> Answer {
        let mut copy = self.clone().via(instance);
        copy.get(&format!("{}{path}", self.home), &[]).await
    }

    pub(crate) async fn get(&mut self, url: &str, headers: &[(&str, &str)]) -> Answer {
        let url = url.parse().expect("a URL");
        self.send(Method::GET, &url, headers, &[]).await
    }

    /// Goes on as long as something leads on.
    pub(crate) async fn follow(&mut self, url: &str) -> Answer {
        let mut answer = self.get(url, &[]).await;
        for _ in 0..MOST_STEPS {
            let Some(next) = answer.next.take() else {
                return answer;
            };
            answer = self.get(next.as_str(), &[]).await;
        }
        panic!("{url} leads on and on, at last to {}", answer.url);
    }

    /// The `Cookie` header for the pages.
    pub(crate) fn cookie(&self) -> String {
        self.cookie_for(&self.home.parse().expect("a URL"))
    }

    fn has_session(&self) -> bool {
        self.cookie().contains("__Host-Http-orders_session=")
    }

    fn cookie_for(&self, url: &Url) -> String {
        let jar = self.cookies.get(&url.origin().ascii_serialization());
        let pairs = jar.into_iter().flatten();
        let pairs = pairs.map(|(name, value)| format!("{name}={value}"));
        pairs.collect::<Vec<_>>().join("; ")
    }

    async fn send(
        &mut self,
        method: Method,
        url: &Url,
        headers: &[(&str, &str)],
        form: &[(&str, &str)],
    ) -> Answer {
        let target = match url.as_str().strip_prefix(&self.home) {
            Some(path) => format!("{}{path}", self.instance),
            None => url.to_string(),
        };
        let mut request = self.http.request(method.clone(), target);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let cookie = self.cookie_for(url);
        if !cookie.is_empty() {
            request = request.header(header::COOKIE, cookie);
        }
        if method == Method::POST {
            let encoded = Url::parse_with_params("http://form", form).expect("a form");
            request = request
                .header(header::CONTENT_TYPE, "application/x-www-form-urlencoded")
                .body(encoded.query().unwrap_or_default().to_owned());
        }
        let answer = request
            .send()
            .await
            .unwrap_or_else(|e| panic!("{url}: {e}"));
        let jar = self.cookies.entry(url.origin().ascii_serialization());
        let jar = jar.or_default();
        for set in answer.headers().get_all(header::SET_COOKIE) {
            let pair = set.to_str().expect("text").split(';').next();
            match pair.and_then(|pair| pair.split_once('=')) {
                Some((name, "")) => _ = jar.remove(name),
                Some((name, value)) => _ = jar.insert(name.to_owned(), value.to_owned()),
                None => panic!("{set:?}"),
            }
        }
        let text = |name| {
            let value = answer.headers().get(name)?;
            Some(value.to_str().expect("text").to_owned())
        };
        let (status, location) = (answer.status(), text(header::LOCATION));
        let body = answer.text().await.expect("a body");
        let bounce = || {
            let rest = body
                .split("http-equiv=\"refresh\" content=\"0;url=")
                .nth(1)?;
            Some(rest.split('"').next()?.to_owned())
        };
        let next = location.or_else(bounce);
        let next = next.map(|next| url.join(&next).expect("a URL"));
        Answer {
            status,
            next,
            url: url.clone(),
            body,
        }
    }
}
